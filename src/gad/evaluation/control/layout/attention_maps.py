"""Attention maps of the words of a prompt, as the energy takes them: over words alone, larger, smoother."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

SHARPNESS = 100  # factor on attention before the softmax over words
BLUR_SIGMA = 0.5  # cells; a kernel of 3 x 3
Map = Float[Tensor, "B H W"]


def word_attention_maps(attention: Float[Tensor, "B H W T"], words: Bool[Tensor, "B T"]) -> Float[Tensor, "B H W T"]:
    """Softmax of 100 A over the words of the prompt, 0 elsewhere.

    BoxDiff leaves out CLIP's start token. Here all tokens that are no word are left out, for every tokenizer: start
    (CLIP, Gemma), end (CLIP, T5) and padding, which would else count as a word that nobody looks at.
    """
    logits = (SHARPNESS * attention).masked_fill(~words[:, None, None, :], float("-inf"))
    return logits.softmax(-1)


def enlarge_attention_maps(maps: Float[Tensor, "B O H W"], side: int) -> Float[Tensor, "B O H2 W2"]:
    """The maps on ``side`` x ``side`` cells, between their own ones linearly; as they are where they have as many.

    Boxes can be anywhere: on cells of an eighth of the image a box of three eighths between them would be rounded to
    another box.
    """
    if maps.shape[-1] >= side:
        return maps
    return F.interpolate(maps, size=(side, side), mode="bilinear", align_corners=False)


def blur_attention_maps(maps: Map) -> Map:
    """Gaussian blur over 3 x 3 cells, the border mirrored."""
    weights = torch.exp(-(torch.arange(-1, 2).to(maps) ** 2) / (2 * BLUR_SIGMA**2))
    kernel = torch.outer(weights, weights) / weights.sum() ** 2
    return F.conv2d(F.pad(maps[:, None], (1, 1, 1, 1), mode="reflect"), kernel[None, None])[:, 0]
