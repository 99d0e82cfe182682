"""What a caption leaves open, counted: art style, quarter of the picture and size of a single emoji."""

import math
from collections import Counter
from collections.abc import Iterable

import torch
from torch import Tensor

from gad.scores.detector import Detector, detect, style_of
from gad.worlds.emoji import GRID_SIDES, SIZE, STYLES

QUARTERS = 4
SIZES = 2
MODES = len(STYLES) * QUARTERS
MIDDLE_SIDE = sum(GRID_SIDES[1]) / 2  # pixels: single objects are drawn smaller or larger than this
UNSEEN = -1


def modes_of(detector: Detector, images: Tensor) -> dict[str, Tensor]:
    """``style``, ``quarter``, ``size`` (0 small, 1 large) and ``mode`` (style x quarter, 0..11) of each image, ``[B]``
    each, read from its strongest detection; -1 where nothing is detected."""
    places = []
    for style, found in zip(style_of(detector, images).tolist(), detect(detector, images), strict=True):
        if not found:
            places.append([UNSEEN] * 4)
            continue
        left, top, right, bottom = found[0].box
        quarter = 2 * int((top + bottom) / 2 >= SIZE / 2) + int((left + right) / 2 >= SIZE / 2)
        size = int(max(right - left, bottom - top) >= MIDDLE_SIDE)
        places.append([style, quarter, size, style * QUARTERS + quarter])
    return dict(zip(("style", "quarter", "size", "mode"), torch.tensor(places).view(-1, 4).unbind(1), strict=True))


def coverage(modes: Iterable[int], num_modes: int) -> float:
    """Share of the possible modes that are seen, in [0, 1]; n samples can show at most n of them."""
    return len({mode for mode in modes if mode >= 0}) / num_modes


def expected_coverage(num_samples: int, num_modes: int) -> float:
    """The coverage that uniform, independent draws would have on average: 1 - (1 - 1/M)^n."""
    return 1 - (1 - 1 / num_modes) ** num_samples


def entropy(modes: Iterable[int], num_modes: int) -> float:
    """Entropy of how often each mode is seen over that of a uniform choice, -sum p log p / log M, in [0, 1].

    0 when all samples show one mode or none shows any; n < M samples can reach log n / log M at most.
    """
    counts = Counter(mode for mode in modes if mode >= 0)
    total = sum(counts.values())
    return sum(count / total * math.log(total / count) for count in counts.values()) / math.log(num_modes)
