"""The `student.lora` section: a student that is an adapter on its teacher's frozen network."""

from typing import Annotated

from pydantic import Field

from gad.config.section import Count, Section

ATTENTION = ["to_q", "to_k", "to_v", "to_out.0"]  # the projections of every family's attention


class LoraConfig(Section):
    """The adapter that is trained instead of the whole network: W + alpha / rank * B A in the layers it names."""

    rank: Count  # of the two matrices of each layer
    alpha: Count | None = None  # strength of the adapter times its rank; none: the rank, strength 1
    targets: Annotated[list[str], Field(min_length=1)] = ATTENTION  # ends of linear or convolutional layers' names

    @property
    def strength(self) -> int:
        """``alpha``, or the rank where it is not named."""
        return self.rank if self.alpha is None else self.alpha
