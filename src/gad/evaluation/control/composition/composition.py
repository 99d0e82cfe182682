"""Composition: does an image show what its prompt asks for, as an object detector sees it? GenEval's six tags.

Objects, two objects, counts, colours, positions, and colours of two objects (Ghosh, Hajishirzi and Schmidt 2023).
Numbers are those of the detector and the CLIP that the recipe names: they compare models. GenEval's own come from a
Mask2Former, whose masks it uses too, and CLIP ViT-L/14; the like of both can be named.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import pandas as pd
import torch
from torch import Tensor

from gad.config import Recipe
from gad.config.control import CompositionConfig
from gad.config.sample_ids import COMPOSITION, task_sample_ids
from gad.data.boxes import Detection
from gad.diffusion.noise import draw_noise
from gad.evaluation.control.composition.colours import ColourReader
from gad.evaluation.control.composition.geneval_file import CompositionPrompt, evenly_spaced_prompts, read_geneval
from gad.evaluation.control.composition.requirements import requirements_met
from gad.evaluation.control.task_output import SHOWN, TaskOutput
from gad.metrics.clip_encoder import load_clip_encoder
from gad.metrics.detector_loading import load_hub_detector, missing_detector_labels
from gad.metrics.instance_detector import InstanceDetector
from gad.metrics.object_detector import HubDetector
from gad.models.sampler import Sampler
from gad.runtime.cache import Parts, Result, ResultCache, at_once, batch_parts
from gad.runtime.devices import own_device
from gad.runtime.paths import project_path

NO_CLIP = "the file asks for colours, which a CLIP reads; name one in control.clip"
COUNTING = "counting"  # the tag whose detections have to be surer, so that none is counted twice


@dataclass(frozen=True)
class CompositionInputs:
    """Prompts, ``images_per_prompt`` noises in a row for each, and what reads the images."""

    prompts: list[CompositionPrompt]
    noise: Tensor
    detect: HubDetector | InstanceDetector
    colours: ColourReader | None  # None where no prompt names one


def composition_prompts(config: CompositionConfig) -> list[CompositionPrompt]:
    """The prompts that the task asks. Raises ValueError, in one line, as :func:`read_geneval`."""
    return evenly_spaced_prompts(read_geneval(project_path(config.prompts)), config.num_prompts)


def prepare_composition(teacher: Sampler, settings: Recipe, cached: ResultCache = at_once) -> CompositionInputs:
    """Prompts, noises and evaluators of all models.

    Raises ValueError, in one line, for a noun that the detector has no label for, and for prompts with colours where
    the recipe names no CLIP.
    """
    config, control = settings.control.composition, settings.control
    assert config is not None
    prompts, device = composition_prompts(config), own_device(control.device)
    colours = any(prompt.names_colour for prompt in prompts)
    if colours and control.clip is None:
        raise ValueError(f"control.composition: {NO_CLIP}")
    detector = load_hub_detector(config.detector, device=device)
    nouns = [config.labels.get(noun, noun) for prompt in prompts for noun in prompt.nouns]
    missing = missing_detector_labels(detector, nouns)
    if missing:
        what = f"detector {config.detector} has no label for {', '.join(missing)}"
        raise ValueError(f"control.composition: {what}; say what it calls them in control.composition.labels")
    ids = task_sample_ids(COMPOSITION, len(prompts) * config.images_per_prompt)
    noise = draw_noise(ids, teacher.model.latent_shape, seed=control.seed)
    reader = ColourReader(load_clip_encoder(control.clip, device=device)) if colours else None
    return CompositionInputs(prompts, noise, detector, reader)


def composition_parts(sampler: Sampler, inputs: CompositionInputs, config: CompositionConfig) -> Parts:
    """How some images each are made and read: ``rows``, a row per image, and the ``images`` of the first prompts, since
    those of all would fill a memory.

    Of an image its ``prompt`` by number, ``sample``, ``tag``, ``caption``, ``correct`` (1 or 0) and how many of the
    nouns' detections are ``found``.
    """
    each = config.images_per_prompt

    def some(part: Tensor) -> Result:
        asked, rows = [inputs.prompts[i // each] for i in part.tolist()], []
        made = sampler.generate(inputs.noise[part], [prompt.caption for prompt in asked])
        for i, prompt, image, seen in zip(part.tolist(), asked, made, inputs.detect(made), strict=True):
            found = asked_detections(seen, prompt, config)
            labels = {"prompt": i // each, "sample": i % each, "tag": prompt.tag, "caption": prompt.caption}
            read_colours = partial(inputs.colours, image) if inputs.colours else None
            correct = float(requirements_met(found, prompt, read_colours))
            rows.append(labels | {"correct": correct, "found": len(found)})
        return {"rows": pd.DataFrame(rows), "images": made[part // each < SHOWN]}

    return batch_parts("images", len(inputs.noise), sampler.batch_size, some)


def run_composition(
    sampler: Sampler, inputs: CompositionInputs, config: CompositionConfig, made: Sequence[Result]
) -> TaskOutput:
    """The rows and images of :func:`composition_parts`, put together."""
    rows = pd.concat([part["rows"] for part in made], ignore_index=True)
    return TaskOutput(rows, torch.cat([part["images"] for part in made]))


def summarise_composition(rows: pd.DataFrame) -> dict[str, float]:
    """``composition``, the mean over tags of the share of right images, and each tag's own; in [0, 1], higher is
    better."""
    by_tag = rows.groupby("tag", sort=False)["correct"].mean()
    return {"composition": float(by_tag.mean())} | {f"composition_{tag}": float(share) for tag, share in by_tag.items()}


def asked_detections(
    seen: Sequence[Detection], prompt: CompositionPrompt, config: CompositionConfig
) -> list[Detection]:
    """The detections of the prompt's nouns whose score is above the tag's threshold, under the prompt's names."""
    least = config.counting_threshold if prompt.tag == COUNTING else config.threshold
    return [
        replace(each, noun=noun)
        for noun in dict.fromkeys(prompt.nouns)
        for each in seen
        if each.noun == config.labels.get(noun, noun) and each.score > least
    ]
