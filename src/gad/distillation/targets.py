"""What the terms on stored pairs compare: the student's x0 at a state, or at the end of its sampling trajectory."""

from dataclasses import dataclass, replace

import torch

from gad.config.student_options import EndToEndGradient, Target
from gad.diffusion.denoiser import Denoiser
from gad.diffusion.sampling import sample
from gad.diffusion.shapes import Latent
from gad.distillation.batch import Batch


def with_target(batch: Batch, target: Target) -> Batch:
    """The batch with the x0 to compare with: the one that leads to the teacher's next state, or its endpoint."""
    return batch if target == "next_state" else replace(batch, target=batch.endpoint)


def state_before_last_call(student: Denoiser, batch: Batch, *, student_steps: int) -> Latent:
    """The last state of the student's trajectory from the noise; with one step the noise."""
    return sample(student, batch.noise, batch.conditioning, num_steps=student_steps, stop=student_steps - 1)[-1]


def output_of_last_call(student: Denoiser, batch: Batch, last: Latent, *, student_steps: int) -> Latent:
    """The student's x0 from the last state of its trajectory."""
    return student(last, torch.full_like(batch.t, 1 / student_steps), batch.conditioning)


def end_to_end_output(
    student: Denoiser, batch: Batch, *, student_steps: int, gradient: EndToEndGradient = "last_call"
) -> Latent:
    """The student's x0 at the end of its trajectory from the noise; ``gradient``: through which of its calls."""
    with torch.set_grad_enabled(gradient == "all_calls" and torch.is_grad_enabled()):
        last = state_before_last_call(student, batch, student_steps=student_steps)
    return output_of_last_call(student, batch, last, student_steps=student_steps)


@dataclass(frozen=True)
class ComparedOutput:
    """The student's output for a stored batch that is compared with ``batch.target``, as ``target`` names it."""

    target: Target = "next_state"
    student_steps: int = 1
    gradient: EndToEndGradient = "last_call"

    def __call__(self, student: Denoiser, batch: Batch) -> Latent:
        if self.target != "end_to_end":
            return student(batch.x_t, batch.t, batch.conditioning)
        return end_to_end_output(student, batch, student_steps=self.student_steps, gradient=self.gradient)
