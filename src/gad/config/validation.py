"""The `student.validation` section: what is measured while a student trains, and after which steps."""

from typing import Annotated

from pydantic import Field, model_validator

from gad.config.section import Count, Positive, Section
from gad.diffusion.step_size import check_step_size


class ValidationConfig(Section):
    """Held-out curves: how many validation noises and prompts, and when. The trained student is the same without it."""

    num_noises: Annotated[int, Field(ge=4)] = 32  # of all prompts together: each prompt has noises of its own
    num_prompts: Annotated[int, Field(ge=2)] = 8  # on the Swiss roll: groups of noises
    first_step: Count = 50  # measured after 0, first_step, 2 first_step, 4 first_step, ... steps and after the last one
    images: Annotated[int, Field(ge=0)] = 8  # columns of the image grids; 0 saves none
    perturbation_scale: Positive = 0.5  # h of the responses, in noise standard deviations

    @model_validator(mode="after")
    def _possible(self):
        if self.num_noises % self.num_prompts or self.num_noises == self.num_prompts:
            noises = f"num_noises {self.num_noises} must be a multiple of num_prompts {self.num_prompts}"
            raise ValueError(f"{noises}, at least twice as many: seeds are compared under one prompt")
        if self.images > self.num_noises:
            raise ValueError(f"images {self.images}: there are only {self.num_noises} noises to show")
        check_step_size(self.perturbation_scale, "float32")
        return self

    @property
    def seeds_per_prompt(self) -> int:
        """Noises of each prompt."""
        return self.num_noises // self.num_prompts

    def steps(self, num_steps: int) -> list[int]:
        """Steps after which is measured, of a training of ``num_steps``: 0, doubling from ``first_step``, the last."""
        found, step = [0], self.first_step
        while step < num_steps:
            found.append(step)
            step *= 2
        return [*found, num_steps]
