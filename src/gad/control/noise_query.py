"""NoiseQuery (Wang et al. 2025): pick the initial noise from a library by what the teacher makes of it.

The library's noises are described by the teacher's answers; the retrieved noise goes to the student unchanged. A
student that keeps the teacher's noise-to-image map profits as much as the teacher does.
"""

from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from gad.control.models import Generate, Judges
from gad.noise import draw_noise
from gad.scores.caption_accuracy import caption_accuracy
from gad.scores.clip import clip_score, image_features, text_features
from gad.worlds.emoji import make_prompt

LIBRARY_ID = 3_000_000  # sample ids of the library's noises
PROMPT_SEED = 3  # captions of the queries


@dataclass(frozen=True)
class Library:
    """Noises ``[N, C, H, W]`` and a descriptor of what the teacher makes of each, ``[N, D]``."""

    noise: Tensor
    features: Tensor


def build_image_library(teacher: Generate, shape, judges: Judges, *, size: int, seed: int) -> Library:
    """Noises described by the CLIP features of the teacher's *unconditional* images (``teacher`` has guidance 0)."""
    noise = draw_noise(range(LIBRARY_ID, LIBRARY_ID + size), shape, seed=seed)
    return Library(noise, image_features(judges.clip, teacher(noise, [""] * size)))


def build_point_library(teacher: Generate, shape, *, size: int, seed: int) -> Library:
    """Noises described by the teacher's points."""
    noise = draw_noise(range(LIBRARY_ID, LIBRARY_ID + size), shape, seed=seed)
    return Library(noise, teacher(noise, [""] * size))


def retrieve(library: Library, queries: Tensor, *, metric: str) -> Tensor:
    """Index of the best library entry per query ``[Q]``: largest ``cosine`` or smallest ``euclidean`` distance."""
    if not len(library.noise):
        raise ValueError("the noise library is empty")
    if metric == "cosine":
        unit = torch.nn.functional.normalize
        return (unit(queries, dim=1) @ unit(library.features, dim=1).T).argmax(1)
    return torch.cdist(queries, library.features).argmin(1)


def _random(size: int, count: int, seed: int) -> Tensor:
    return torch.randint(size, (count,), generator=torch.Generator().manual_seed(seed))


def query_images(
    generate: Generate, library: Library, judges: Judges, *, num_queries: int, seed: int
) -> tuple[pd.DataFrame, Tensor]:
    """Two rows per prompt, with a random noise of the library and with the retrieved one; and the retrieved images."""
    prompts = [make_prompt(i, seed=PROMPT_SEED) for i in range(num_queries)]
    captions = [prompt.caption for prompt in prompts]
    choices = {
        "random": _random(len(library.noise), num_queries, seed),
        "retrieved": retrieve(library, text_features(judges.clip, captions), metric="cosine"),
    }
    tables, images = [], None
    for choice, index in choices.items():
        images = generate(library.noise[index], captions)
        accuracy = caption_accuracy(judges.detector, images, prompts)
        scores = {"clip_score": clip_score(judges.clip, images, captions)}
        scores |= {name: accuracy[name] for name in ("noun_right", "colour_right", "count_right")}
        table = pd.DataFrame({name: column.tolist() for name, column in scores.items()})
        tables.append(table.assign(prompt=range(num_queries), caption=captions, noise=choice))
    return pd.concat(tables, ignore_index=True), images


def query_points(generate: Generate, library: Library, targets: Tensor, *, seed: int) -> tuple[pd.DataFrame, Tensor]:
    """The Swiss roll's query: land near a target point. Rows hold the distance to it, random and retrieved noise."""
    choices = {
        "random": _random(len(library.noise), len(targets), seed),
        "retrieved": retrieve(library, targets, metric="euclidean"),
    }
    tables, points = [], None
    for choice, index in choices.items():
        points = generate(library.noise[index], [""] * len(targets))
        distance = (points - targets).norm(dim=1).tolist()
        tables.append(pd.DataFrame({"prompt": range(len(targets)), "target_distance": distance, "noise": choice}))
    return pd.concat(tables, ignore_index=True), points
