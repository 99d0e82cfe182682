"""The `noise_pairs.prompts` section: which file of captions a recipe reads."""

from typing import Annotated, Literal

from pydantic import model_validator

from gad.config.effect import TABLES, with_any
from gad.config.section import Section

Captions = Literal["all", "split_by_words"]  # of emoji scenes; split: analyses read those that no training has seen


class PromptsConfig(Section):
    """A text file (a prompt a line), or a column of a CSV or Parquet file; here, or in a data set on the hub."""

    file: str  # from the project's root, absolute, or inside the data set
    column: Annotated[str, TABLES] = "prompt"
    dataset: str | None = None  # owner/name on the hub
    revision: Annotated[str | None, with_any("dataset")] = None  # of the data set; a commit's hash pins it

    @model_validator(mode="after")
    def _possible(self):
        if not self.file.endswith((".txt", ".csv", ".parquet")):
            raise ValueError(f"file {self.file!r} must end in .txt, .csv or .parquet")
        if self.dataset and not self.revision:
            raise ValueError(f"data set {self.dataset!r} needs a revision: a commit's hash, or main")
        return self


PromptSource = PromptsConfig | Captions | None  # None as "all"
