"""Diversity through the noise: how different are the images of one prompt, and how many of its modes do they cover?

The paper's Fig. 5. Where a caption shows one object, its modes are counted: art style x place in the image, among the
images that show its noun; captions of several objects have none. For the Swiss roll they are sixteen equal arcs.
"""

from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from gad.config import DiversityConfig, Recipe
from gad.config.sample_ids import DIVERSITY, task_sample_ids
from gad.data.emoji.caption_accuracy import caption_accuracy
from gad.data.emoji.detector import Detector, load_emoji_detector
from gad.data.emoji.sprites import STYLES
from gad.data.swiss_roll import ARCS, arc_of, distance_to_roll
from gad.diffusion.noise import draw_noise
from gad.evaluation.control.modes import MODES, PLACES, SIZES, mode_coverage, mode_entropy, modes_of
from gad.evaluation.control.prompts import Prompts, control_prompts
from gad.evaluation.control.task_output import TaskOutput, task_output_rows
from gad.metrics.clip_encoder import Encoder, clip_features_in_batches, load_clip_encoder
from gad.metrics.image_diversity import intra_prompt_distance, vendi_image_diversity
from gad.metrics.image_features import efflite0_features
from gad.metrics.seed_retrieval import seed_retrieval
from gad.models.sampler import TEACHER, Sampler
from gad.runtime.cache import Result, ResultCache, at_once
from gad.runtime.devices import own_device

EVALUATED = ("object_accuracy", "colour_accuracy")
COUNTED = {"mode": MODES, "style": len(STYLES), "place": PLACES, "size": SIZES}


@dataclass(frozen=True)
class Inputs:
    """Noises, ``group`` of them in a row for each prompt, and what the teacher makes of them."""

    noise: Tensor
    captions: list[str]
    group: int
    teacher_outputs: Tensor
    prompts: Prompts | None = None
    encoder: Encoder | None = None
    detector: Detector | None = None


def prepare_diversity(teacher: Sampler, settings: Recipe, cached: ResultCache = at_once) -> Inputs:
    """Every model sees the same noises: seed ``s`` of prompt ``p`` is one noise."""
    config, seed = settings.control.diversity, settings.control.seed
    count, group = config.num_prompts, config.seeds_per_prompt
    points = teacher.model.pipeline is None
    if points:  # no prompts: groups of as many noises as there are arcs
        count, group = max(1, count * group // ARCS), ARCS
    noise = draw_noise(task_sample_ids(DIVERSITY, count * group), teacher.model.latent_shape, seed=seed)
    of = settings.noise_pairs.captions
    prompts = Prompts([""] * count) if points else control_prompts(count, config.prompts, captions=of)
    captions = [caption for caption in prompts.captions for _ in range(group)]

    def some(part: Tensor) -> Result:
        return {"outputs": teacher.generate(noise[part], [captions[i] for i in part.tolist()])}

    outputs = torch.cat([r["outputs"] for r in cached.batches("outputs", len(noise), teacher.batch_size, some)])
    shared = (noise, captions, group, outputs)
    if points:
        return Inputs(*shared)
    detector = None if prompts.scenes is None else load_emoji_detector()
    encoder = load_clip_encoder(settings.control.clip, device=own_device(settings.control.device))
    return Inputs(*shared, prompts, encoder, detector)


def run_diversity(sampler: Sampler, inputs: Inputs, config: DiversityConfig) -> TaskOutput:
    """A row per noise. Numbers of all outputs of a prompt (vendi, distance, spread) are repeated in its rows."""
    same = sampler.name == TEACHER
    outputs = inputs.teacher_outputs if same else sampler.generate(inputs.noise, inputs.captions)
    rows = _image_rows(outputs, inputs) if inputs.prompts else _point_rows(outputs, inputs.group)
    return TaskOutput(rows, outputs)


def summarise_diversity(rows: pd.DataFrame) -> dict[str, float]:
    """Means over prompts: mode coverage and entropy of those that have modes, distances, and accuracies."""
    groups = rows.groupby("prompt")
    if "arc" in rows:
        found = {"mode_coverage": float(groups["arc"].apply(lambda modes: mode_coverage(modes, ARCS)).mean())}
        found["mode_entropy"] = float(groups["arc"].apply(lambda modes: mode_entropy(modes, ARCS)).mean())
        return found | {name: float(rows[name].mean()) for name in ("distance_to_roll", "spread")}
    names = ("vendi", "intra_prompt_distance", "clip_score", "seed_retrieval_accuracy", *EVALUATED)
    found = {name: float(rows[name].mean()) for name in names if name in rows}
    if "mode" in rows:
        rows = rows.dropna(subset="mode").astype(dict.fromkeys(COUNTED, int))
        groups = rows.groupby("prompt")
        found["mode_coverage"] = float(groups["mode_coverage"].first().mean())
    for name, number in COUNTED.items():
        if name in rows:
            found[f"{name}_entropy"] = float(groups[name].apply(lambda modes, n=number: mode_entropy(modes, n)).mean())
    return found


def _image_rows(images: Tensor, inputs: Inputs) -> pd.DataFrame:
    assert inputs.encoder is not None and inputs.prompts is not None
    tables = []
    # pixels, features and the detector's predictions for one prompt at a time
    for number, (part, reference) in enumerate(
        zip(images.split(inputs.group), inputs.teacher_outputs.split(inputs.group), strict=True)
    ):
        features = efflite0_features(part)
        text = inputs.encoder.texts([inputs.prompts.captions[number]])
        columns = {
            "vendi": vendi_image_diversity(features),
            "intra_prompt_distance": intra_prompt_distance(features),
            "clip_score": clip_features_in_batches(inputs.encoder, part) @ text[0],
            "seed_retrieval_accuracy": seed_retrieval(part[None], reference[None])[0],
        }
        if inputs.detector is not None and inputs.prompts.scenes is not None:
            scene = inputs.prompts.scenes[number]
            accuracy = caption_accuracy(inputs.detector, part, [scene] * len(part))
            columns |= {name: accuracy[name] for name in EVALUATED}
            if len(scene.objects) == 1:
                modes = modes_of(inputs.detector, part, scene.things[0].noun)
                columns |= modes | {"mode_coverage": mode_coverage(modes["mode"].tolist(), MODES)}
        labels = {"prompt": number, "caption": inputs.prompts.captions[number], "sample": list(range(len(part)))}
        tables.append(task_output_rows(**labels, **columns))
    return pd.concat(tables, ignore_index=True)


def _point_rows(points: Tensor, group: int) -> pd.DataFrame:
    number = torch.arange(len(points)) // group
    spread = points.view(-1, group, 2).var(1, correction=0).sum(1).sqrt()  # root mean square distance from the centre
    labels = {"prompt": number, "sample": torch.arange(len(points)) % group}
    return task_output_rows(
        **labels, arc=arc_of(points), distance_to_roll=distance_to_roll(points), spread=spread[number]
    )
