r"""Low-level attributes of images, one number per image.

Images are ``[B, 3, H, W]`` in [-1, 1] and are read as RGB in [0, 1]; gray is 0.299 R + 0.587 G + 0.114 B.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from gad.diffusion.shapes import Latent, PerSample

LUMA = (0.299, 0.587, 0.114)
BLUE = 240.0  # degrees of hue


def _rgb(images: Latent) -> Tensor:
    return (images.float().clamp(-1, 1) + 1) / 2


def _gray(images: Latent) -> Tensor:
    return (_rgb(images) * torch.tensor(LUMA)[:, None, None].to(images.device)).sum(1)  # B H W


def brightness(images: Latent) -> PerSample:
    """Mean gray, in [0, 1]."""
    return _gray(images).mean((1, 2))


def contrast(images: Latent) -> PerSample:
    """Standard deviation of gray, in [0, 0.5]."""
    return _gray(images).std((1, 2), correction=0)


def saturation(images: Latent) -> PerSample:
    """Mean HSV saturation (max - min) / max, in [0, 1]; black counts as 0."""
    rgb = _rgb(images)
    largest = rgb.amax(1)
    return ((largest - rgb.amin(1)) / largest.clamp(min=1e-6)).mean((1, 2))


def sharpness(images: Latent) -> PerSample:
    """Variance of the Laplacian of gray (four neighbours, inner pixels), in [0, 16]; 0 for a flat or even ramp."""
    gray = _gray(images)
    inner = gray[:, 1:-1, 1:-1]
    neighbours = gray[:, :-2, 1:-1] + gray[:, 2:, 1:-1] + gray[:, 1:-1, :-2] + gray[:, 1:-1, 2:]
    return (neighbours - 4 * inner).var((1, 2), correction=0)


def colourfulness(images: Latent) -> PerSample:
    r"""Colourfulness of Hasler and Süsstrunk (2003), at least 0 and 0 for gray; times 255 it is on their scale.

    .. math:: \sqrt{\sigma_{rg}^2 + \sigma_{yb}^2} + 0.3 \sqrt{\mu_{rg}^2 + \mu_{yb}^2},
        \quad rg = R - G, \quad yb = (R + G) / 2 - B
    """
    red, green, blue = _rgb(images).flatten(2).unbind(1)
    opponents = torch.stack([red - green, (red + green) / 2 - blue], dim=1)  # B 2 HW
    spread, mean = opponents.var(2, correction=0).sum(1), opponents.mean(2).square().sum(1)
    return spread.sqrt() + 0.3 * mean.sqrt()


def red(images: Latent) -> PerSample:
    """Mean of the red channel, in [0, 1]."""
    return _rgb(images)[:, 0].mean((1, 2))


def green(images: Latent) -> PerSample:
    """Mean of the green channel, in [0, 1]."""
    return _rgb(images)[:, 1].mean((1, 2))


def blue(images: Latent) -> PerSample:
    """Mean of the blue channel, in [0, 1]."""
    return _rgb(images)[:, 2].mean((1, 2))


def hue(images: Latent) -> PerSample:
    """Circular mean of hue weighted by chroma, in degrees [0, 360): 0 red, 120 green, 240 blue; NaN for gray."""
    red, green, blue = _rgb(images).flatten(2).unbind(1)
    # the hue circle's plane: a pixel's angle there is its hue and its distance from the centre its chroma
    x, y = (red - (green + blue) / 2).mean(1), (3**0.5 / 2 * (green - blue)).mean(1)
    angle = torch.rad2deg(torch.atan2(y, x)) % 360
    return torch.where(torch.hypot(x, y) < 1e-6, torch.nan, angle)


def blue_hue(images: Latent) -> PerSample:
    """How near the mean hue is to blue: the cosine of the angle between them, in [-1, 1]; 0 for gray.

    Hue itself runs in a circle and has no order; this has one.
    """
    return torch.cos(torch.deg2rad(hue(images) - BLUE)).nan_to_num(0.0)


ATTRIBUTES = {
    function.__name__: function
    for function in (brightness, contrast, saturation, sharpness, colourfulness, red, green, blue, blue_hue)
}


def low_level_attributes(images: Latent, names: Sequence[str] = tuple(ATTRIBUTES)) -> Float[Tensor, "B A"]:
    """The named attributes of each image, a column each."""
    return torch.stack([ATTRIBUTES[name](images) for name in names], dim=1)
