"""The evaluators and the prompts of the control tasks."""

from dataclasses import dataclass

from gad.config import Captions
from gad.data.emoji import seeds
from gad.data.emoji.caption_split import evaluation_split_captions
from gad.data.emoji.scenes import Accept, Prompt, make_scene_prompt
from gad.data.prompt_file import read_prompts
from gad.runtime.paths import project_path


@dataclass(frozen=True)
class Prompts:
    """Captions, and the scenes that they describe: None for prompts from a file, whose truth nobody knows."""

    captions: list[str]
    scenes: list[Prompt] | None = None

    def __len__(self) -> int:
        return len(self.captions)


def control_prompts(
    count: int, path: str | None = None, *, single: bool = False, captions: Captions = "all"
) -> Prompts:
    """The first ``count`` different prompts of a file or of the dataset's ``captions``, there with ``single`` those
    that show one object. Raises ValueError, in one line, when the file holds fewer or cannot be read."""
    if path is not None:
        lines = read_prompts(project_path(path))
        prompts = list(dict.fromkeys(lines))
        if len(prompts) < count:
            repeated = f" ({len(lines) - len(prompts)} come again)" if len(prompts) < len(lines) else ""
            raise ValueError(f"prompt file {path} holds {len(prompts)} prompts{repeated}, {count} are asked for")
        return Prompts(prompts[:count])
    accept = evaluation_split_captions(captions)
    scenes = (
        single_prompts(count, seed=seeds.CONTROL, accept=accept)
        if single
        else [make_scene_prompt(i, seed=seeds.CONTROL, accept=accept) for i in range(count)]
    )
    return Prompts([scene.caption for scene in scenes], scenes)


def single_prompts(count: int, *, seed: int, accept: Accept | None = None) -> list[Prompt]:
    """The first ``count`` prompts that show one object, whose modes can be counted."""
    prompts: list[Prompt] = []
    index = 0
    while len(prompts) < count:
        prompt = make_scene_prompt(index, seed=seed, accept=accept)
        index += 1
        if len(prompt.objects) == 1:
            prompts.append(prompt)
    return prompts
