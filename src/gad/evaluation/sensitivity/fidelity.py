"""What the pictures of every student show, beside the teacher's: seeds (Table 2), fidelity (Tables 3 and 12), sisters.

Every model gets the same noises and prompts. Images are read as they are made and not kept.
:mod:`gad.evaluation.jobs` asks every model in turn.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from gad.config import Recipe
from gad.config.sample_ids import FIDELITY, ids_of
from gad.data.emoji.evaluator_training import to_images
from gad.data.emoji.scenes import make_scene
from gad.data.prompts import PROMPT_SEED, prompt_of
from gad.diffusion.noise import draw_noise
from gad.evaluation.jobs import Job, Table, measured, owner_of
from gad.metrics.clip_score import Score, load_scores, score_all
from gad.metrics.image_features import FeaturesOf, load_features
from gad.metrics.set_distances import set_distances
from gad.metrics.statistics import mean_over_seeds
from gad.models.model import Model
from gad.models.sampler import TEACHER, NamedStudent, Sampler
from gad.runtime.cache import Keep, Result
from gad.runtime.devices import own_device
from gad.runtime.paths import ROOT


def _folder_images(folder: Path, count: int, side: int) -> Iterator[Tensor]:
    """The first pictures of a folder by name, the middle square of each, ``[1, 3, side, side]`` in [-1, 1]."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".png", ".jpg", ".jpeg", ".webp"))
    if not paths:
        raise ValueError(f"there are no pictures in {folder}, which sensitivity.fidelity.data names")
    for path in paths[:count]:
        picture = Image.open(path).convert("RGB")
        edge = min(picture.size)
        left, top = (picture.width - edge) // 2, (picture.height - edge) // 2
        picture = picture.crop((left, top, left + edge, top + edge)).resize((side, side), Image.Resampling.BICUBIC)
        flat = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
        yield flat.view(1, side, side, 3).permute(0, 3, 1, 2).float() / 127.5 - 1


def data_features(settings: Recipe, features: FeaturesOf, side: int) -> Tensor | None:
    """Features of real images: a folder's, or scenes of the same captions; None where there are none."""
    config = settings.sensitivity.fidelity
    assert config is not None
    if config.data is not None:
        return torch.cat([features(image) for image in _folder_images(ROOT / config.data, config.num_images, side)])
    if settings.teacher.dataset != "emoji":
        return None
    ids = ids_of(FIDELITY, config.num_images)
    return features(to_images([make_scene(i, seed=PROMPT_SEED) for i in ids]))


def scored(
    sampler: Sampler, scores: dict[str, Score], features: FeaturesOf, settings: Recipe
) -> list[Callable[[], Result]]:
    """How some images each are scored: ``rows``, a row per image, and their ``features`` ``[N, D]``."""
    config, shape = settings.sensitivity.fidelity, sampler.model.latent_shape
    assert config is not None
    ids = ids_of(FIDELITY, config.num_images)
    prompts = prompt_of(ids, settings.noise_pairs.prompts)

    def some(part: Tensor) -> Result:
        here = [prompts[i] for i in part.tolist()]
        images = sampler.generate(draw_noise([ids[i] for i in part.tolist()], shape, seed=config.seed), here)
        columns = {name: score_all(score, images, here).tolist() for name, score in scores.items()}
        rows = pd.DataFrame({"sample": part.tolist(), "prompt": here} | columns)
        return {"rows": rows, "features": features(images)}

    return [partial(some, part) for part in torch.arange(config.num_images).split(config.batch_size)]


def whole_set(parts: Sequence[Result]) -> Result:
    """What the calls of :func:`scored` have given, put together."""
    rows = pd.concat([part["rows"] for part in parts], ignore_index=True)
    return {"rows": rows, "features": torch.cat([part["features"] for part in parts])}


def fidelity_table(rows: pd.DataFrame, distances: pd.DataFrame) -> pd.DataFrame:
    """Tables 3 and 12: a row per variant and seed.

    Each score's mean over images with its 95 % t interval (``<score>_low``, ``<score>_high``) and, for each reference,
    ``frechet_to_<reference>`` and so on; ``n`` images.
    """
    scores = [name for name in rows.columns if name not in ("sample", "prompt", "variant", "seed")]
    measures = [name for name in distances.columns if name not in ("reference", "features", "variant", "seed", "n")]
    table = []
    for (variant, seed), group in rows.groupby(["variant", "seed"], sort=False):
        row = {"variant": variant, "seed": seed, "n": len(group)}
        for name in scores:
            estimate = mean_over_seeds(group[name])
            row |= {name: estimate.mean, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
        own = distances[(distances["variant"] == variant) & (distances["seed"] == seed)]
        for _, entry in own.iterrows():
            row |= {f"{name}_to_{entry['reference']}": entry[name] for name in measures}
        table.append(row)
    return pd.DataFrame(table)


def mean_table(rows: pd.DataFrame) -> pd.DataFrame:
    """A row per variant and seed with the mean of every number over its samples."""
    columns = [name for name in rows.select_dtypes("number").columns if name not in ("seed", "sample")]
    return rows.groupby(["variant", "seed"], sort=False)[columns].mean().reset_index()


def fidelity_job(teacher: Sampler, settings: Recipe) -> Job:
    """A row per image with its scores, and a row per reference with its distances."""
    config, device = settings.sensitivity.fidelity, own_device(settings.sensitivity.device)
    assert config is not None

    def shown(sampler: Sampler, scores: dict[str, Score], features: FeaturesOf) -> list[Callable[[], Result]]:
        return scored(replace(sampler, batch_size=config.batch_size), scores, features, settings)

    def prepare(keep: Keep) -> tuple[dict[str, Score], FeaturesOf, Result]:
        scores = load_scores(config.scores, device=device)
        features = load_features(config.features, batch_size=config.batch_size, device=device)
        own = whole_set(keep.each(f"teacher_{config.batch_size}", shown(teacher, scores, features)))
        reference = {"rows": own["rows"], "teacher": own["features"]} | keep("data", lambda: real(features))
        return scores, features, reference

    def real(features: FeaturesOf) -> Result:
        found = data_features(settings, features, teacher.model.image_side)
        return {} if found is None else {"data": found}

    def run(sampler: Sampler, inputs: tuple[dict[str, Score], FeaturesOf, Result]) -> Result:
        scores, features, reference = inputs
        own = sampler.name == TEACHER
        answer = {} if own else whole_set([make() for make in shown(sampler, scores, features)])
        rows, found = answer.get("rows", reference["rows"]), answer.get("features", reference["teacher"])
        distances = [
            {"reference": name, "features": config.features}
            | set_distances(found, reference[name], axes=config.axes, neighbours=config.neighbours)
            for name in ("teacher", "data")
            if name in reference and name != sampler.name
        ]
        return {"rows": rows, "distances": pd.DataFrame(distances)}

    return Job("fidelity", partial(owner_of, "fidelity", teacher, settings), prepare, run)


def measure_fidelity(
    teacher: Model, students: Iterable[NamedStudent], settings: Recipe, *, parts: Path | None = None
) -> Iterator[Table]:
    """Yield, per model, a row per image with its scores, and a row per reference with its distances.

    References are ``teacher`` and, where there is any, ``data``. ``parts`` as in :func:`measure_seeds`.
    """
    yield from ((f["rows"], f["distances"]) for f in measured(fidelity_job, teacher, students, settings, parts))
