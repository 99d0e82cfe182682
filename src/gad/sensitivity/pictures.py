"""What the pictures of every student show, beside the teacher's: seeds (Table 2), fidelity (Tables 3 and 12), sisters.

Every model gets the same noises and prompts. Images are read as they are made and not kept.
:mod:`gad.sensitivity.evaluations` asks every model in turn.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from gad.config import Recipe, SeedsConfig
from gad.config.sample_ids import FIDELITY, SEEDS, ids_of
from gad.data.emoji.judge_training import to_images
from gad.data.emoji.scenes import make_scene
from gad.data.prompts import PROMPT_SEED, different_prompts, prompt_of
from gad.diffusion.noise import draw_noise
from gad.metrics.clip_score import Score, score_all
from gad.metrics.image_features import FeaturesOf
from gad.metrics.statistics import mean_over_seeds
from gad.models.sampler import Actor
from gad.runtime.cache import Result
from gad.runtime.paths import ROOT
from gad.sensitivity.seed_identifiability import Classifier, SeedImages, prepared, split


def seed_images(actor: Actor, classifier: Classifier, settings: Recipe) -> list[Callable[[], Result]]:
    """How the images of the recipe's noises under its prompts are made, a few prompts at a time, for the classifier."""
    config = settings.sensitivity.seeds
    noise = draw_noise(ids_of(SEEDS, config.num_seeds), actor.model.latent_shape, seed=config.seed)
    prompts = different_prompts(SEEDS, config.num_prompts, settings.noise_pairs.prompts)
    per_part = max(1, config.batch_size // config.num_seeds)

    def part(start: int) -> Result:
        here = prompts[start : start + per_part]
        repeated = [prompt for prompt in here for _ in range(config.num_seeds)]
        images = actor.generate(noise.repeat(len(here), 1, 1, 1), repeated)
        return {"images": prepared(images.unflatten(0, (len(here), config.num_seeds)), classifier.prepare)}

    return [partial(part, start) for start in range(0, len(prompts), per_part)]


def split_images(parts: Sequence[Result], config: SeedsConfig) -> SeedImages:
    """What the calls of :func:`seed_images` have made, split by prompt."""
    return split(torch.cat([part["images"] for part in parts]), config)


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
    if config.data is not None:
        return torch.cat([features(image) for image in _folder_images(ROOT / config.data, config.num_images, side)])
    if settings.teacher.world != "emoji":
        return None
    ids = ids_of(FIDELITY, config.num_images)
    return features(to_images([make_scene(i, seed=PROMPT_SEED) for i in ids]))


def scored(
    actor: Actor, scores: dict[str, Score], features: FeaturesOf, settings: Recipe
) -> list[Callable[[], Result]]:
    """How some images each are scored: ``rows``, a row per image, and their ``features`` ``[N, D]``."""
    config, shape = settings.sensitivity.fidelity, actor.model.latent_shape
    ids = ids_of(FIDELITY, config.num_images)
    prompts = prompt_of(ids, settings.noise_pairs.prompts)

    def some(part: Tensor) -> Result:
        here = [prompts[i] for i in part.tolist()]
        images = actor.generate(draw_noise([ids[i] for i in part.tolist()], shape, seed=config.seed), here)
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
