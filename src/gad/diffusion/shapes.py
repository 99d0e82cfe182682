"""Legend of axes and the array types that public signatures use; a number per sample in the shape of a batch.

B batch of samples · C latent channels · H, W latent height and width · L text tokens · D text width ·
S sampling steps (a trajectory has S + 1 states) · N noises · K directions · V student variants
"""

from jaxtyping import Bool, Float, Int
from torch import Tensor

Latent = Float[Tensor, "B C H W"]
"""Noise, noisy latent, clean-latent prediction or direction; unit scale."""

PerSample = Float[Tensor, " B"]
"""One number per sample: a time in [0, 1], a scale, a loss."""

Trajectory = Float[Tensor, "S B C H W"]
"""States of a sampler from noise (first) to data (last)."""

PromptEmbeds = Float[Tensor, "B L D"]
PromptMask = Bool[Tensor, "B L"] | Int[Tensor, "B L"]


def expand_per_sample(scale: PerSample, like: Tensor) -> Tensor:
    """One number per sample, shaped ``[B, 1, ...]`` to multiply ``like``."""
    return scale.view(-1, *[1] * (like.ndim - 1))


def mean_per_sample(error: Latent) -> PerSample:
    """The mean over each sample's elements, ``[B]``."""
    return error.flatten(1).mean(dim=1)
