"""CLIP models of transformers: unit features of images and captions that fit where they are alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from gad.diffusion.shapes import Latent

if TYPE_CHECKING:  # imported where they are used at run time, since that takes seconds
    from transformers import CLIPModel, PreTrainedTokenizerBase
    from transformers.utils import ModelOutput


@dataclass(frozen=True)
class Clip:
    """A CLIP model with its own tokenizer, and how many tokens a caption is padded or cut to."""

    model: "CLIPModel"
    tokenizer: "PreTrainedTokenizerBase"
    num_tokens: int


def _features(output: "Tensor | ModelOutput") -> Tensor:
    """Projected features of unit length, from a transformers output or a bare tensor."""
    return F.normalize(output if isinstance(output, Tensor) else output.pooler_output, dim=-1)


def clip_model_image_features(clip: Clip, images: Latent) -> Float[Tensor, "B D"]:
    """Features of unit length of images ``[B, 3, H, W]`` as the network was trained to see them."""
    return _features(clip.model.get_image_features(pixel_values=images))


def clip_model_text_features(clip: Clip, captions: Sequence[str]) -> Float[Tensor, "B D"]:
    """Features of unit length of captions."""
    tokens = clip.tokenizer(
        list(captions), padding="max_length", max_length=clip.num_tokens, truncation=True, return_tensors="pt"
    ).to(clip.model.device)
    return _features(clip.model.get_text_features(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask))
