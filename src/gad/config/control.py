"""The `control` section: a sub-section per task. Diversity always runs; another task without one does not."""

from typing import Annotated, Literal

from pydantic import Field

from gad.config.effect import ON_IMAGES, with_own
from gad.config.layout import LayoutConfig
from gad.config.section import Count, Device, Positive, Section, Seed


class DiversityConfig(Section):
    """How many outputs of how many prompts diversity is measured on."""

    num_prompts: Count
    seeds_per_prompt: Annotated[int, Field(ge=2)]
    # a file of prompts, from the project's root; without one the dataset's own
    prompts: Annotated[str | None, ON_IMAGES] = None
    # the Swiss roll has no prompts: it takes num_prompts x seeds_per_prompt noises


class NoiseQueryConfig(Section):
    """The noise library and its queries."""

    library_size: Count  # noises
    num_queries: Count  # prompts, or target points on the Swiss roll
    # the prompt of the library's images
    describe: Annotated[Literal["unconditional", "prompt"], ON_IMAGES] = "unconditional"
    # requested values of each low-level attribute, tenths and finer
    requests: Annotated[int, Field(ge=10), ON_IMAGES] = 10
    attribute_prompts: Annotated[Count, ON_IMAGES] = 2  # prompts under which each of them is requested
    # whose attributes: the teacher's images of that prompt, or the library's, which say little about a prompt that
    # fixes background and colour
    attributes_of: Annotated[Literal["prompt", "library"], ON_IMAGES] = "prompt"
    # first entries of the library that the prompt's images are of
    attribute_entries: Annotated[int, Field(ge=2), with_own("attributes_of", "prompt"), ON_IMAGES] = 48
    library: str | None = None  # a finished library's folder, from the project's root; without one it is built
    prompts: Annotated[str | None, ON_IMAGES] = None  # a file of prompts, from the project's root


class NoiseOptimisationConfig(Section):
    """Gradient ascent on a score through a model's map."""

    num_prompts: Count  # prompts, or target points on the Swiss roll
    iterations: Count
    angle: Positive = 0.3  # radians that a noise turns in the first step; halved where the score falls
    prompts: Annotated[str | None, ON_IMAGES] = None  # a file of prompts, from the project's root
    recompute: bool = False  # calls, for their gradient: slower, but of a trajectory's graph one call is held
    batch_size: Count | None = None  # noises at once; the section's own unless given


class CompositionConfig(Section):
    """GenEval's prompts, and what reads the images of them."""

    prompts: str  # GenEval's evaluation_metadata.jsonl, from the project's root
    detector: str  # of transformers, of the DETR kind or a Mask2Former; folder or hub name
    num_prompts: Count | None = None  # evenly spaced in the file; without it all
    images_per_prompt: Count = 4
    labels: dict[str, str] = {}  # what the detector calls an object of the file
    threshold: Annotated[float, Field(ge=0.05, lt=1)] = 0.3  # least score of a detection
    counting_threshold: Annotated[float, Field(ge=0.05, lt=1)] = 0.9  # of prompts that count


class ControlConfig(Section):
    """The tasks, and what they share."""

    diversity: DiversityConfig  # the report shows its outputs side by side
    noise_query: NoiseQueryConfig | None = None
    noise_optimisation: NoiseOptimisationConfig | None = None
    layout: Annotated[LayoutConfig | None, ON_IMAGES] = None
    composition: Annotated[CompositionConfig | None, ON_IMAGES] = None
    # a transformers CLIP, folder from the project's root or hub name; else the dataset's evaluator
    clip: Annotated[str | None, ON_IMAGES] = None
    device: Device = "cpu"  # of the networks; noises and images stay on the CPU
    batch_size: Count = 64
    seed: Seed = 0

    @property
    def tasks(self) -> list[str]:
        """Names of the tasks that run."""
        return [name for name in type(self).model_fields if isinstance(getattr(self, name), Section)]
