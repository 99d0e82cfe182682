"""What a caption leaves open, counted: art style, place in the image and size of a single emoji."""

import math
from bisect import bisect
from collections import Counter
from collections.abc import Iterable

import torch
from torch import Tensor

from gad.data.emoji.detector import Detector, best_emoji_detection, detect_emoji_style, detect_emojis
from gad.data.emoji.scenes import GRID_SIDES
from gad.data.emoji.sprites import STYLES

EDGES = (26, 38)  # pixels between the thirds of a row or column; no sprite of the grid has its centre within 2 of them
PLACES = (len(EDGES) + 1) ** 2
SIZES = 2
MODES = len(STYLES) * PLACES
MIDDLE_SIDE = sum(GRID_SIDES[1]) / 2  # pixels: single objects are drawn smaller or larger than this
UNSEEN = -1


def modes_of(detector: Detector, images: Tensor, noun: str) -> dict[str, Tensor]:
    """``style``, ``place`` (0..8, row by row), ``size`` (0 small, 1 large) and ``mode`` (style x place) of each image,
    ``[B]`` each, read from the strongest detection of the noun; -1 where it is not seen: a wrong object is no mode."""
    places = []
    for style, found in zip(
        detect_emoji_style(detector, images).tolist(), detect_emojis(detector, images), strict=True
    ):
        best = best_emoji_detection(found, noun)
        if best is None:
            places.append([UNSEEN] * 4)
            continue
        left, top, right, bottom = best.box
        row, column = (bisect(EDGES, middle) for middle in ((top + bottom) / 2, (left + right) / 2))
        place, size = row * (len(EDGES) + 1) + column, int(max(right - left, bottom - top) >= MIDDLE_SIDE)
        places.append([style, place, size, style * PLACES + place])
    return dict(zip(("style", "place", "size", "mode"), torch.tensor(places).view(-1, 4).unbind(1), strict=True))


def mode_coverage(modes: Iterable[int], num_modes: int) -> float:
    """Share of the possible modes that are seen, in [0, 1]; n samples can show at most n of them."""
    return len({mode for mode in modes if mode >= 0}) / num_modes


def expected_mode_coverage(num_samples: int, num_modes: int) -> float:
    """The coverage that uniform, independent draws would have on average: 1 - (1 - 1/M)^n."""
    return 1 - (1 - 1 / num_modes) ** num_samples


def mode_entropy(modes: Iterable[int], num_modes: int) -> float:
    """Entropy of how often each mode is seen over that of a uniform choice, -sum p log p / log M, in [0, 1].

    0 when all samples show one mode or none shows any; n < M samples can reach log n / log M at most.
    """
    counts = Counter(mode for mode in modes if mode >= 0)
    total = sum(counts.values())
    return sum(count / total * math.log(total / count) for count in counts.values()) / math.log(num_modes)
