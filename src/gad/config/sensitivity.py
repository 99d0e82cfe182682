"""The `sensitivity` section."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, model_validator

from gad.config.effect import DIFFERENCES, ON_IMAGES, SOME_SPECTRA
from gad.config.fidelity import FidelityConfig, InversionConfig, NegativePromptsConfig, SeedsConfig
from gad.config.section import Count, Device, Positive, Section, Seed
from gad.diffusion.step_size import check_step_size


class SensitivityConfig(Section):
    """Noises and directions of the analysis."""

    num_noises: Count
    num_directions: Count
    directions: Annotated[list[Literal["isotropic", "low_frequency", "singular"]], Field(min_length=1)]
    method: Literal["exact", "difference"]  # forward mode, or Eq. (5)
    perturbation_scale: Annotated[float, DIFFERENCES] = 1e-2  # h of the difference method, in noise standard deviations
    finite_step: Positive | None = None  # a large h at which differences are measured as well, as the noise pairs' own
    device: Device = "cpu"  # of the networks; noises, images and what is measured stay on the CPU
    batch_size: Count = 32
    num_spectra: NonNegativeInt = 3  # noises at which the largest singular values are taken; 0: none
    num_singular: Annotated[Count, SOME_SPECTRA] = 4  # singular values of each
    seed: Seed = 0
    seeds: SeedsConfig | None = None  # seed identifiability; absent: not run
    fidelity: FidelityConfig | None = None
    negative_prompts: Annotated[NegativePromptsConfig | None, ON_IMAGES] = None
    inversion: InversionConfig | None = None

    @model_validator(mode="after")
    def _step_survives(self):
        for h in (self.perturbation_scale, self.finite_step or self.perturbation_scale):
            check_step_size(h, "float32")
        return self

    @property
    def num_held_out_prompts(self) -> int:
        """The most prompts that an analysis takes from the end of the list; all of them take the same ones."""
        asked = [self.num_noises]
        asked += [self.seeds.num_prompts] if self.seeds else []
        asked += [self.fidelity.num_images] if self.fidelity else []
        asked += [section.num_samples for section in (self.negative_prompts, self.inversion) if section]
        return max(asked)
