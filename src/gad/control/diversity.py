"""Diversity through the noise: how different are the answers to one prompt, and how many of its modes are seen?

The paper's Fig. 5. For emoji scenes the modes of a one-object caption are counted: art style x quarter of the picture.
For the Swiss roll they are sixteen equal arcs.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from gad.control.models import Generate, Judges
from gad.noise import draw_noise
from gad.scores.caption_accuracy import caption_accuracy
from gad.scores.clip import clip_score
from gad.scores.detector import detect, style_of
from gad.scores.features import efflite0_features, intra_prompt_distance, vendi
from gad.worlds.emoji import SIZE, STYLES, Prompt, make_prompt
from gad.worlds.swiss_roll import ARCS, arc_of, distance_to_roll

QUARTERS = 4
MODES = len(STYLES) * QUARTERS
NOISE_ID = 2_000_000  # sample ids of the diversity task


def single_prompts(count: int, *, seed: int) -> list[Prompt]:
    """The first ``count`` prompts that show one object, whose modes can be counted."""
    prompts, index = [], 0
    while len(prompts) < count:
        prompt = make_prompt(index, seed=seed)
        index += 1
        if len(prompt.objects) == 1:
            prompts.append(prompt)
    return prompts


def mode_of(judges: Judges, images: Tensor) -> Tensor:
    """Style x quarter of each image's strongest detection, ``[B]`` in 0..11, or -1 where nothing is detected."""
    styles = style_of(judges.detector, images)
    modes = []
    for style, found in zip(styles.tolist(), detect(judges.detector, images), strict=True):
        if not found:
            modes.append(-1)
            continue
        left, top, right, bottom = found[0].box
        quarter = 2 * int((top + bottom) / 2 >= SIZE / 2) + int((left + right) / 2 >= SIZE / 2)
        modes.append(style * QUARTERS + quarter)
    return torch.tensor(modes)


def coverage(modes: Sequence[int], num_modes: int) -> float:
    """Share of the possible modes that are seen, in [0, 1]; n samples can show at most n of them."""
    return len({mode for mode in modes if mode >= 0}) / num_modes


def expected_coverage(num_samples: int, num_modes: int) -> float:
    """The coverage that uniform, independent draws would have on average: 1 - (1 - 1/M)^n."""
    return 1 - (1 - 1 / num_modes) ** num_samples


def seeds_found(images: Tensor, reference: Tensor) -> float:
    """Share of images whose nearest reference image (pixels, L2) is of their own seed, in [0, 1]; higher is better.

    Row i of both is seed i under the same prompt; guessing finds 1 / B of them.
    """
    nearest = torch.cdist(images.flatten(1), reference.flatten(1)).argmin(dim=1)
    return float((nearest == torch.arange(len(images))).float().mean())


def diversity_of_images(
    generate: Generate,
    prompts: list[Prompt],
    shape,
    judges: Judges,
    *,
    seeds_per_prompt: int,
    seed: int,
    teacher: Tensor | None = None,
) -> tuple[pd.DataFrame, Tensor]:
    """A row per prompt (Vendi, EffLite0 distance, coverage, CLIP score, nouns right) and images ``[P, S, 3, H, W]``.

    Every model sees the same noises: seed ``s`` of prompt ``p`` is one noise. Seeds are found back among the
    ``teacher``'s images, or among their own.
    """
    rows, pictures = [], []
    for number, prompt in enumerate(prompts):
        ids = range(NOISE_ID + number * seeds_per_prompt, NOISE_ID + (number + 1) * seeds_per_prompt)
        images = generate(draw_noise(ids, shape, seed=seed), [prompt.caption] * seeds_per_prompt)
        pictures.append(images)
        features = efflite0_features(images)
        accuracy = caption_accuracy(judges.detector, images, [prompt] * seeds_per_prompt)
        row = {
            "prompt": number,
            "caption": prompt.caption,
            "vendi": vendi(features),
            "intra_prompt_distance": intra_prompt_distance(features),
            "mode_coverage": coverage(mode_of(judges, images).tolist(), MODES),
            "clip_score": float(clip_score(judges.clip, images, [prompt.caption] * seeds_per_prompt).mean()),
            "noun_right": float(accuracy["noun_right"].mean()),
            "colour_right": float(accuracy["colour_right"].nanmean()),
        }
        rows.append(row | {"seeds_found": seeds_found(images, images if teacher is None else teacher[number])})
    return pd.DataFrame(rows), torch.stack(pictures)


def diversity_of_points(generate: Generate, shape, *, num_samples: int, seed: int) -> tuple[pd.DataFrame, Tensor]:
    """The Swiss roll's row per group of ``ARCS`` noises: mode coverage and distance to the roll; and all points."""
    groups = max(1, num_samples // ARCS)
    ids = range(NOISE_ID, NOISE_ID + groups * ARCS)
    points = generate(draw_noise(ids, shape, seed=seed), [""] * len(ids))
    arcs, distance = arc_of(points).view(groups, ARCS), distance_to_roll(points).view(groups, ARCS)
    rows = {
        "prompt": range(groups),
        "mode_coverage": [coverage(row.tolist(), ARCS) for row in arcs],
        "distance_to_roll": distance.mean(1).tolist(),
        "spread": [float(np.sqrt(p.var(0).sum())) for p in points.view(groups, ARCS, 2).numpy()],
    }
    return pd.DataFrame(rows), points
