"""The `student.start_student` section: a few-step student that one already has, to be repaired.

.. code-block:: yaml

    student:
      start: student
      start_student:
        source: stabilityai/sd-turbo      # hub name or folder of a diffusers pipeline
        scheduler: {class: EulerDiscreteScheduler, timestep_spacing: trailing}

A bare network (kind `network`) and a LoRA (kind `lora`) take all the rest from the recipe's teacher.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from gad.config.effect import with_own
from gad.config.external import ExternalStudent, Option
from gad.config.section import Section

NAME = "student.start_student"  # in messages


class StartingStudent(Section):
    """Where a student starts that was distilled elsewhere: its weights, and the times that its own sampler visits."""

    source: str  # hub name or local folder: a pipeline, a bare network or LoRA weights of the teacher's network
    revision: str | None = None  # of the hub
    kind: Literal["full", "network", "lora"] = "full"  # what the source holds
    subfolder: Annotated[str | None, with_own("kind", "network")] = None  # path of a bare network in its repository
    weights: str | None = None  # kind network: a file of weights without a config, for the teacher's own network
    lora_scale: Annotated[float, with_own("kind", "lora")] = 1.0  # times the adapter's own strength
    scheduler: dict[str, Option] | None = None  # `class` and options that replace the folder's own scheduler
    timesteps: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] | None = None  # of its network
    sigmas: Annotated[list[float], Field(min_length=1)] | None = None  # of a flow or Euler scheduler

    @model_validator(mode="after")
    def _possible(self):
        self.as_external(len(self.timesteps or self.sigmas or [0]))
        return self

    def as_external(self, num_steps: int) -> ExternalStudent:
        """The same as an external model of so many steps. Raises ValueError for what that cannot be."""
        base = None if self.kind == "full" else "the teacher"
        return ExternalStudent(name=NAME, num_steps=num_steps, base=base, **self.model_dump())
