"""Whether the objects that a detector sees are those that a prompt asks for, by GenEval's rules.

An image is right where all that is included is found and nothing that is excluded. Of a noun with more detections than
asked for, those of the highest score are looked at (Ghosh, Hajishirzi and Schmidt 2023, arXiv:2310.11513).
"""

from collections.abc import Callable, Sequence

import numpy as np

from gad.data.boxes import Box, Detection
from gad.evaluation.control.composition.geneval_file import CompositionPrompt, Requirement

MAX_OBJECTS = 16  # detections of a noun that are looked at
POSITION_THRESHOLD = 0.1  # share of both objects' extents by which centres may differ along an axis and count as equal

ReadColours = Callable[[Sequence[Detection]], Sequence[str]]
"""The colour of each detection of an image, all of the same noun."""


def requirements_met(found: Sequence[Detection], prompt: CompositionPrompt, read_colours: ReadColours | None) -> bool:
    """Whether detections, best score first, are what the prompt asks for; ``read_colours`` where it names one."""
    met: list[Sequence[Detection]] = []
    for asked in prompt.include:
        own = _of_noun(found, asked.noun)[: asked.count]
        if len(own) < asked.count:
            return False
        if asked.colour is not None:
            assert read_colours is not None, "a prompt that names colours is read with a CLIP"
            if list(read_colours(own)).count(asked.colour) < asked.count:
                return False
        if asked.relation is not None and not _all_stand(own, asked, met[asked.target]):
            return False
        met.append(own)
    return all(len(_of_noun(found, asked.noun)) < asked.count for asked in prompt.exclude)


def box_relations(box: Box, other: Box) -> set[str]:
    r"""Where a box stands, seen from another: "left of", "right of", "above", "below"; up to two of them, or none.

    With centres :math:`c`, extents :math:`e` and :math:`d = c - c'`, an axis counts where
    :math:`\max(|d_i| - 0.1\,(e_i + e'_i), 0) > \|d\| / 2`.
    """
    corners = np.array([box, other], dtype=float).reshape(2, 2, 2)  # box, corner, axis
    centre, extent = corners.mean(1), corners[:, 1] - corners[:, 0]
    apart = centre[0] - centre[1]
    distance = np.maximum(np.abs(apart) - POSITION_THRESHOLD * extent.sum(0), 0) * np.sign(apart)
    if np.all(np.abs(distance) < 1e-3):  # pixels
        return set()
    across, down = distance / np.linalg.norm(apart)
    named = {"left of": across < -0.5, "right of": across > 0.5, "above": down < -0.5, "below": down > 0.5}
    return {name for name, holds in named.items() if holds}


def _of_noun(found: Sequence[Detection], noun: str) -> list[Detection]:
    return [detection for detection in found if detection.noun == noun][:MAX_OBJECTS]


def _all_stand(own: Sequence[Detection], asked: Requirement, others: Sequence[Detection]) -> bool:
    """Whether each of the objects stands in the relation to each of the others."""
    return all(asked.relation in box_relations(one.box, other.box) for one in own for other in others)
