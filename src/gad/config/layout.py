"""The `control.layout` section."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from gad.config.effect import DATASET_PROMPTS, with_own
from gad.config.section import Count, Positive, Section, Seed


class LayoutConfig(Section):
    """Boxes, and how the noise is moved until attention is in them."""

    num_prompts: Count
    # of the emoji scenes' prompts, to leave out those of earlier trials
    first_prompt: Annotated[int, Field(ge=0), DATASET_PROMPTS] = 0
    attention: Literal["own", "teacher"] = "own"  # whose attention is optimised for a student's noise
    # steps of a coarser trajectory whose attention is read instead of the model's own
    attention_trajectory_steps: Count | None = None
    attention_steps: Count = 1  # first steps of the trajectory, at most all of them, whose attention is averaged
    # substrings of the names of those that are read
    attention_layers: Annotated[list[str], Field(min_length=1)] | None = None
    step: Literal["turn", "gradient"] = "turn"  # by an angle, the same for every model; or BoxDiff's
    angle: Annotated[Positive, with_own("step", "turn")] = 0.1  # radians of the first turn
    low_frequency_size: Count | None = None  # turn only the noise's means over the blocks of a grid of that side
    # of the first gradient step: noise moved per unit of the energy's gradient
    step_size: Annotated[Positive, with_own("step", "gradient")] = 20.0
    iterations: Count = 10  # BoxDiff: 15
    top_share: Annotated[float, Field(gt=0, le=1)] = 0.2  # P, of the cells of a region
    corner_range: Annotated[int, Field(ge=0)] = 1  # L, in cells of the attention map
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.8  # a sample stops when every object's attention reaches it
    keep_on_shell: Annotated[bool, with_own("step", "gradient")] = True  # of gradient steps; a turn stays anyway
    batch_size: Count = 64
    seed: Seed = 0
    boxes_file: str | None = None  # BoxDiff's file of prompts and boxes, from the project's root; emoji scenes else
    detector: str | None = None  # a transformers object detector, folder or hub name; needed with boxes_file

    @model_validator(mode="after")
    def _whole(self):
        if (self.boxes_file is None) != (self.detector is None):
            raise ValueError("boxes_file and detector belong together: give both or none")
        if self.low_frequency_size is not None and self.step != "turn":
            raise ValueError("low_frequency_size is for turns: leave it out, or set step: turn")
        return self
