"""The `noise_pairs` section."""

from collections.abc import Set
from typing import Annotated, Literal

from pydantic import Field, model_validator

from gad.config.effect import MANY_DIRECTIONS, ON_EMOJI, ON_IMAGES, with_own
from gad.config.prompts import Captions, PromptsConfig, PromptSource
from gad.config.sample_ids import WIDTH
from gad.config.section import Count, Device, Dtype, Positive, Section, Seed
from gad.diffusion.step_size import check_step_size

NO_MATTER = {"batch_size", "device"}  # settings that change no output beyond rounding
NEWER = {"captions"}  # settings of newer code: recorded only where they are not what older pairs had


class NoisePairsConfig(Section):
    """Noises, directions and the teacher's sampler."""

    num_pairs: Annotated[Count, Field(le=WIDTH)]  # sample ids, from 0
    directions_per_noise: Count = 1
    direction: Literal["isotropic", "low_frequency", "singular"]
    # side of the coarse grid that low-frequency directions are drawn on
    low_frequency_size: Annotated[Count, with_own("direction", "low_frequency")] = 4
    # singular directions of a noise: of the teacher's strongest response
    num_singular: Annotated[Count, with_own("direction", "singular")] = 16
    # steps of the teacher's trajectory whose Jacobian they belong to; 1 is a single call
    singular_steps: Annotated[Count, with_own("direction", "singular")] = 1
    singular_rounds: Annotated[Count, with_own("direction", "singular")] = 2  # of subspace iteration
    perturbation_scale: float  # h, in noise standard deviations
    # h of a noise's last direction, those between on a geometric scale
    smallest_scale: Annotated[Positive | None, MANY_DIRECTIONS] = None
    step: Literal["straight", "spherical"]
    teacher_steps: Count  # network evaluations of the teacher's ODE, twice that with guidance
    guidance_scale: Annotated[float, Field(ge=1)]  # 1 is plain conditional
    student_steps: Count  # sampling steps of the student
    batch_size: Count = 64  # samples at once; does not change results beyond rounding
    shard_size: Count = 128  # sample ids a file
    seed: Seed = 0
    prompts: PromptsConfig | None = None  # dataset prompts: where they are read from; emoji captions otherwise
    captions: Annotated[Captions, ON_EMOJI] = "all"  # which captions pairs and analyses are drawn from
    device: Device = "cpu"  # of the teacher while it samples
    dtype: Annotated[Dtype, ON_IMAGES] = "float32"  # of the teacher's network while it samples; states are float32

    @model_validator(mode="after")
    def _possible(self):
        ids = self.num_pairs * (1 + self.directions_per_noise)  # independent noises take those behind the pairs' own
        if ids > WIDTH:
            asked = f"num_pairs {self.num_pairs} with directions_per_noise {self.directions_per_noise}"
            raise ValueError(f"{asked} would take {ids} sample ids, the analysis begins at {WIDTH}; lower one of them")
        if self.student_steps > self.teacher_steps:
            raise ValueError(f"more student steps ({self.student_steps}) than teacher steps ({self.teacher_steps})")
        if self.teacher_steps % self.student_steps:
            raise ValueError(f"student_steps {self.student_steps} does not divide teacher_steps {self.teacher_steps}")
        if self.smallest_scale is not None and self.smallest_scale > self.perturbation_scale:
            scales = f"smallest_scale {self.smallest_scale:g} is larger than perturbation_scale"
            raise ValueError(f"{scales} {self.perturbation_scale:g}; steps fall from the second to the first")
        for h in self.steps:
            check_step_size(h, "float32")
        return self

    @property
    def prompt_source(self) -> PromptSource:
        """What :func:`gad.data.prompts.prompt_of` reads the prompts of sample ids from."""
        return self.prompts or (None if self.captions == "all" else self.captions)

    def recorded(self, *, exclude: Set[str] = frozenset()) -> dict[str, object]:
        """The settings as they stand beside results, without those of ``exclude``."""
        usual = {name for name in NEWER if getattr(self, name) == type(self).model_fields[name].default}
        return self.model_dump(exclude={*exclude, *usual})

    @property
    def steps(self) -> list[float]:
        """h of each direction of a noise: all alike, or falling from ``perturbation_scale`` to ``smallest_scale``."""
        largest, copies = self.perturbation_scale, self.directions_per_noise
        if self.smallest_scale is None or copies == 1:
            return [largest] * copies
        return [largest * (self.smallest_scale / largest) ** (k / (copies - 1)) for k in range(copies)]
