"""The evaluators and the prompts of the control tasks."""

from dataclasses import dataclass

from gad.config import Captions
from gad.data.emoji import seeds
from gad.data.emoji.caption_split import evaluation_split_captions
from gad.data.emoji.scenes import Prompt, make_scene_prompt
from gad.data.prompt_file import read_prompts
from gad.runtime.paths import project_path

TRIED = 20_000  # captions that are drawn until enough differ


@dataclass(frozen=True)
class Prompts:
    """Captions, and the scenes that they describe: None for prompts from a file, whose truth nobody knows."""

    captions: list[str]
    scenes: list[Prompt] | None = None

    def __len__(self) -> int:
        return len(self.captions)


def control_prompts(count: int, path: str | None = None, *, captions: Captions = "all") -> Prompts:
    """The first ``count`` different prompts of a file or of the dataset's ``captions``.

    Raises ValueError, in one line, when there are fewer or the file cannot be read.
    """
    if path is not None:
        lines = read_prompts(project_path(path))
        prompts = list(dict.fromkeys(lines))
        if len(prompts) < count:
            repeated = f" ({len(lines) - len(prompts)} come again)" if len(prompts) < len(lines) else ""
            raise ValueError(f"prompt file {path} holds {len(prompts)} prompts{repeated}, {count} are asked for")
        return Prompts(prompts[:count])
    accept = evaluation_split_captions(captions)
    found: dict[str, Prompt] = {}
    for index in range(TRIED):
        if len(found) == count:
            return Prompts(list(found), list(found.values()))
        scene = make_scene_prompt(index, seed=seeds.CONTROL, accept=accept)
        found.setdefault(scene.caption, scene)
    raise ValueError(f"{count} different captions are asked for, {len(found)} are found among {TRIED} that are drawn")
