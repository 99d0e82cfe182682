"""How models are sampled where they are compared."""

from dataclasses import dataclass

from gad.config.prompts import PromptSource


@dataclass(frozen=True)
class Sampling:
    """Steps of the teacher's and of a student's sampler, and the prompts of sample ids."""

    teacher_steps: int
    guidance_scale: float  # of the teacher; students have it in their weights
    student_steps: int
    prompts: PromptSource = None  # where prompts are read from; emoji captions otherwise
