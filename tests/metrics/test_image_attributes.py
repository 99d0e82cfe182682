"""Low-level attributes on images whose values are known."""

import colorsys
import math

import numpy as np
import pytest
import torch

from gad.metrics.image_attributes import ATTRIBUTES, hue, low_level_attributes

BLACK, WHITE, RED, GREEN, BLUE = (0, 0, 0), (1, 1, 1), (1, 0, 0), (0, 1, 0), (0, 0, 1)


def flat(*colours) -> torch.Tensor:
    """An image of 8 x 8 for each colour in [0, 1]."""
    return torch.tensor(colours, dtype=torch.float32).view(-1, 3, 1, 1).expand(-1, -1, 8, 8) * 2 - 1


def halves(left, right) -> torch.Tensor:
    """One image, left half and right half."""
    return torch.cat([flat(left)[..., :4], flat(right)[..., :4]], dim=-1)


@pytest.fixture(scope="module")
def pictures():
    return torch.rand(5, 3, 12, 10, generator=torch.Generator().manual_seed(0)) * 2 - 1


def slowly(image: np.ndarray) -> dict[str, float]:
    """The attributes once more, pixel by pixel from their definitions; ``image`` is ``[H, W, 3]`` in [0, 1]."""
    height, width, _ = image.shape
    pixels = [tuple(image[y, x]) for y in range(height) for x in range(width)]
    gray = np.array([[0.299 * r + 0.587 * g + 0.114 * b for r, g, b in row] for row in image])
    laplace = [
        gray[y - 1, x] + gray[y + 1, x] + gray[y, x - 1] + gray[y, x + 1] - 4 * gray[y, x]
        for y in range(1, height - 1)
        for x in range(1, width - 1)
    ]
    rg, yb = [r - g for r, g, b in pixels], [(r + g) / 2 - b for r, g, b in pixels]
    circle = [(r - (g + b) / 2, math.sqrt(3) / 2 * (g - b)) for r, g, b in pixels]
    angle = math.atan2(np.mean([y for _, y in circle]), np.mean([x for x, _ in circle]))
    return {
        "brightness": gray.mean(),
        "contrast": gray.std(),
        "saturation": np.mean([colorsys.rgb_to_hsv(*p)[1] for p in pixels]),
        "sharpness": np.var(laplace),
        "colourfulness": math.hypot(np.std(rg), np.std(yb)) + 0.3 * math.hypot(np.mean(rg), np.mean(yb)),
        "red": image[..., 0].mean(),
        "green": image[..., 1].mean(),
        "blue": image[..., 2].mean(),
        "blue_hue": math.cos(angle - math.radians(240)),
    }


def test_every_attribute_equals_its_slow_version(pictures):
    found = low_level_attributes(pictures)
    for image, row in zip(pictures, found, strict=True):
        wanted = slowly((image.double().numpy().transpose(1, 2, 0) + 1) / 2)
        assert dict(zip(ATTRIBUTES, row.tolist(), strict=True)) == pytest.approx(wanted, abs=1e-5)


def test_an_image_counts_alone_whatever_its_batch(pictures):
    assert torch.allclose(
        low_level_attributes(pictures), torch.cat([low_level_attributes(one[None]) for one in pictures]), atol=1e-7
    )


def test_the_colours_of_the_circle_have_their_hue():
    assert hue(flat(RED, GREEN, BLUE, (1, 1, 0))).tolist() == pytest.approx([0, 120, 240, 60], abs=1e-3)
    assert hue(flat((0.5, 0.5, 0.5))).isnan().all()
    assert low_level_attributes(flat(BLUE, RED, (0.5, 0.5, 0.5)), ["blue_hue"])[:, 0].tolist() == pytest.approx(
        [1, -0.5, 0]
    )


def test_the_mean_hue_does_not_break_at_red():
    nearly = [colorsys.hsv_to_rgb(degrees / 360, 1, 1) for degrees in (350, 10)]
    assert hue(halves(*nearly)).item() % 359.99 == pytest.approx(0, abs=0.02)


def test_extremes_stand_at_the_ends_of_their_ranges():
    assert low_level_attributes(flat(BLACK, WHITE), ["brightness"])[:, 0].tolist() == pytest.approx([0, 1])
    assert low_level_attributes(halves(BLACK, WHITE), ["contrast"]).item() == pytest.approx(0.5)
    assert low_level_attributes(flat(RED, WHITE, BLACK), ["saturation"])[:, 0].tolist() == pytest.approx([1, 0, 0])
    board = (torch.arange(8)[:, None] + torch.arange(8)) % 2 * 2.0 - 1
    assert low_level_attributes(board.expand(1, 3, 8, 8), ["sharpness"]).item() == pytest.approx(16)
    assert low_level_attributes(flat(RED), ["sharpness"]).item() == pytest.approx(0, abs=1e-10)


def test_values_outside_the_range_are_cut():
    assert torch.equal(low_level_attributes(3 * flat(RED, WHITE)), low_level_attributes(flat(RED, WHITE)))
