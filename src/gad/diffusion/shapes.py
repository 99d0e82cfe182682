"""Legend of axes and the array types that public signatures use.

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
