"""What a check has to say."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """One line: ``state: what -> what to do``."""

    state: Literal["ok", "missing", "warn"]
    what: str
    do: str = ""

    def __str__(self) -> str:
        return f"{self.state}: {self.what}" + (f" -> {self.do}" if self.do else "")
