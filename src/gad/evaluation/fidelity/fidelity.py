"""Fidelity of every model's images: scores (Table 3) and set distances to the teacher's and to real ones (Table 12).

Every model gets the same noises and prompts. Images are scored as they are made and not saved.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from gad.config import FidelityConfig, PromptsConfig, PromptSource, Recipe
from gad.config.sample_ids import FIDELITY, task_sample_ids
from gad.data.emoji.caption_accuracy import caption_accuracy
from gad.data.emoji.detector import Detector, load_emoji_detector
from gad.data.emoji.scenes import Prompt
from gad.data.prompts import prompt_of, scene_prompt_of
from gad.diffusion.noise import draw_noise
from gad.evaluation.fidelity.real_images import real_features
from gad.evaluation.jobs import Job
from gad.evaluation.per_model import measured_per_model, per_model_section_key
from gad.metrics.clip_score import Score, clip_scores_in_batches, load_all_clip_scores
from gad.metrics.image_features import FeaturesOf, load_features
from gad.metrics.set_distances import set_distances
from gad.metrics.statistics import t_interval_over_seeds
from gad.models.model import Model
from gad.models.sampler import TEACHER, NamedStudent, Sampler
from gad.runtime.cache import Parts, Result, ResultCache, batch_parts
from gad.runtime.devices import own_device

EVALUATED = ("object_accuracy", "count_accuracy")  # of each image; other measures leave some captions out


@dataclass(frozen=True)
class Evaluators:
    """What reads the images: scores against the prompt, features, and the emoji detector where scenes are known."""

    scores: dict[str, Score]
    features: FeaturesOf
    detector: Detector | None = None


def load_evaluators(settings: Recipe) -> Evaluators:
    config, device = settings.sensitivity.fidelity, own_device(settings.sensitivity.device)
    assert config is not None
    known = settings.teacher.dataset == "emoji" and settings.noise_pairs.prompts is None
    return Evaluators(
        load_all_clip_scores(config.scores, device=device),
        load_features(config.features, batch_size=config.batch_size, device=device),
        load_emoji_detector() if known else None,
    )


def image_scores(
    images: Tensor, prompts: Sequence[str], evaluators: Evaluators, scenes: Sequence[Prompt] | None = None
) -> dict[str, Tensor]:
    """Each score of each image, ``[N]``; higher is better.

    With ``scenes``, which the prompts describe, ``object_accuracy`` and ``count_accuracy`` too: 1 where a detector
    finds every object that the caption names, and as often, else 0.
    """
    found = {name: clip_scores_in_batches(score, images, prompts) for name, score in evaluators.scores.items()}
    if scenes is not None and evaluators.detector is not None:
        accuracy = caption_accuracy(evaluators.detector, images, scenes)
        found |= {name: accuracy[name] for name in EVALUATED}
    return found


def _scored(
    name: str, sampler: Sampler, evaluators: Evaluators, config: FidelityConfig, source: PromptSource = None
) -> Parts:
    """How some images each are scored: ``rows``, a row per image, and their ``features`` ``[N, D]``; by names."""
    ids, shape = task_sample_ids(FIDELITY, config.num_images), sampler.model.latent_shape
    prompts = prompt_of(ids, source)

    def some(part: Tensor) -> Result:
        here = [prompts[i] for i in part.tolist()]
        images = sampler.generate(draw_noise([ids[i] for i in part.tolist()], shape, seed=config.seed), here)
        scenes = None  # prompts of a file describe none
        if not isinstance(source, PromptsConfig):
            scenes = [scene_prompt_of(ids[i], source or "all") for i in part.tolist()]
        scored = image_scores(images, here, evaluators, scenes)
        columns = {name: values.tolist() for name, values in scored.items()}
        rows = pd.DataFrame({"sample": part.tolist(), "prompt": here} | columns)
        return {"rows": rows, "features": evaluators.features(images)}

    return batch_parts(name, config.num_images, config.batch_size, some)


def _whole_set(parts: Sequence[Result]) -> Result:
    """What the calls of :func:`_scored` have given, put together."""
    rows = pd.concat([part["rows"] for part in parts], ignore_index=True)
    return {"rows": rows, "features": torch.cat([part["features"] for part in parts])}


def summarise_fidelity(rows: pd.DataFrame, distances: pd.DataFrame) -> pd.DataFrame:
    """Tables 3 and 12: a row per variant and seed.

    Each score's mean over images with its 95 % t interval (``<score>_low``, ``<score>_high``) and, for each reference,
    ``frechet_to_<reference>`` and so on; ``n`` images. Empty for no rows.
    """
    if rows.empty:
        return pd.DataFrame()
    scores = [name for name in rows.columns if name not in ("sample", "prompt", "variant", "seed")]
    measures = [name for name in distances.columns if name not in ("reference", "features", "variant", "seed", "n")]
    table = []
    for (variant, seed), group in rows.groupby(["variant", "seed"], sort=False):
        row = {"variant": variant, "seed": seed, "n": len(group)}
        for name in scores:
            estimate = t_interval_over_seeds(group[name])
            row |= {name: estimate.mean, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
        own = distances[(distances["variant"] == variant) & (distances["seed"] == seed)]
        for _, entry in own.iterrows():
            row |= {f"{name}_to_{entry['reference']}": entry[name] for name in measures}
        table.append(row)
    return pd.DataFrame(table)


def fidelity_evaluation(teacher: Sampler, settings: Recipe) -> Job:
    """A row per image with its scores, and a row per reference with its distances."""
    config = settings.sensitivity.fidelity
    assert config is not None

    def scored(name: str, sampler: Sampler, evaluators: Evaluators) -> Parts:
        sampler = replace(sampler, batch_size=config.batch_size)
        return _scored(name, sampler, evaluators, config, settings.noise_pairs.prompt_source)

    def prepare(cached: ResultCache) -> tuple[Evaluators, Result]:
        evaluators = load_evaluators(settings)
        own = _whole_set(cached.every(scored("teacher", teacher, evaluators)))
        data = cached("data", lambda: real(evaluators.features))
        return evaluators, {"rows": own["rows"], "teacher": own["features"]} | data

    def real(features: FeaturesOf) -> Result:
        side, captions = teacher.model.image_side, settings.noise_pairs.captions
        found = real_features(config, settings.teacher.dataset, features, side, captions)
        return {} if found is None else {"data": found}

    def parts(sampler: Sampler, inputs: tuple[Evaluators, Result]) -> Parts:
        return {} if sampler.name == TEACHER else scored("images", sampler, inputs[0])

    def run(sampler: Sampler, inputs: tuple[Evaluators, Result], made: Sequence[Result]) -> Result:
        _, reference = inputs
        scored_set = _whole_set(made) if made else {}
        rows, found = scored_set.get("rows", reference["rows"]), scored_set.get("features", reference["teacher"])
        distances = [
            {"reference": name, "features": config.features}
            | set_distances(found, reference[name], axes=config.axes, neighbours=config.neighbours)
            for name in ("teacher", "data")
            if name in reference and name != sampler.name
        ]
        return {"rows": rows, "distances": pd.DataFrame(distances)}

    return Job("fidelity", partial(per_model_section_key, "fidelity", teacher, settings), prepare, run, parts)


def measure_fidelity(
    teacher: Model, students: Iterable[NamedStudent], settings: Recipe, *, cache_dir: Path | None = None
) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """Yield, per model, a row per image with its scores, and a row per reference with its distances.

    References are ``teacher`` and, where there is any, ``data``. ``cache_dir`` as in :func:`measured_per_model`.
    """
    yield from (
        (f["rows"], f["distances"])
        for f in measured_per_model(fidelity_evaluation, teacher, students, settings, cache_dir)
    )
