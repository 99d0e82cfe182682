"""The `control` section."""

from typing import Annotated

from pydantic import Field

from gad.config.layout import LayoutConfig
from gad.config.section import Count, Section, Seed


class ControlConfig(Section):
    """Sizes of the control tasks."""

    num_prompts: Count  # prompts of the diversity task
    seeds_per_prompt: Annotated[int, Field(ge=2)]
    library_size: Count  # noises in the library of NoiseQuery
    num_queries: Count
    batch_size: Count = 64
    seed: Seed = 0
    layout: LayoutConfig | None = None  # layout control; none without it
