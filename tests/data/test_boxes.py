import pytest
import torch

from gad.data.boxes import box_iou
from gad.data.emoji.detector_grid import (
    CELL,
    GRID,
    decode_grid_boxes,
    detector_grid_peaks,
    detector_grid_targets,
    encode_grid_box,
    grid_cell_centres,
)
from gad.data.emoji.sprites import NOUNS


def test_decoding_inverts_encoding_in_every_cell():
    box = (3.0, 10.5, 40.0, 61.0)
    decoded = decode_grid_boxes(encode_grid_box(box)[None])[0]
    assert torch.equal(decoded, torch.tensor(box)[:, None, None].expand(4, GRID, GRID))


def test_distances_are_positive_exactly_inside_the_box():
    box = (8.0, 16.0, 40.0, 32.0)
    x, y = grid_cell_centres()[:2]
    inside = (x > 8) & (x < 40) & (y > 16) & (y < 32)
    assert torch.equal((encode_grid_box(box) > 0).all(0), inside)


@pytest.mark.parametrize(
    ("other", "expected"), [((0, 0, 10, 10), 1), ((10, 0, 20, 10), 0), ((5, 0, 15, 10), 1 / 3), ((0, 0, 5, 10), 1 / 2)]
)
def test_overlap_is_intersection_over_union(other, expected):
    assert box_iou((0, 0, 10, 10), other) == pytest.approx(expected)
    assert box_iou(other, (0, 0, 10, 10)) == pytest.approx(expected)


def test_peaks_of_the_targets_are_the_objects(truth):
    scenes, _ = truth
    targets = detector_grid_targets(scenes)
    found = detector_grid_peaks(targets.heat, decode_grid_boxes(targets.box), threshold=0.9)
    for index, scene in enumerate(scenes):
        seen = sorted((NOUNS[noun], row, column) for sample, noun, row, column, _ in found if sample == index)
        centres = [
            (int((top + bottom) / 2 // CELL), int((left + right) / 2 // CELL))
            for left, top, right, bottom in scene.boxes
        ]
        expected = sorted((thing.noun, *centre) for thing, centre in zip(scene.prompt.objects, centres, strict=True))
        assert seen == expected


def test_of_two_overlapping_peaks_the_better_one_stays():
    heat = torch.zeros(1, len(NOUNS), GRID, GRID)
    heat[0, 0, 5, 5], heat[0, 1, 5, 8] = 0.6, 0.9
    boxes = torch.tensor([10.0, 10.0, 40.0, 40.0])[None, :, None, None].expand(1, 4, GRID, GRID)
    assert [(noun, row, column) for _, noun, row, column, _ in detector_grid_peaks(heat, boxes, threshold=0.3)] == [
        (1, 5, 8)
    ]
