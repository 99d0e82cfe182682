"""Which words each place of the image attends to: cross-attention maps, read through diffusers' attention processors.

.. math:: A = \\mathrm{softmax}\\left(Q K^\\top / \\sqrt{d} + \\text{mask}\\right)

Q comes from the image and K from the text. SD's UNet, PixArt's and SANA's transformer all have it in ``attn2``; SD 3
and FLUX attend to image and text together: :mod:`gad.evaluation.control.layout.joint_attention`.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gad.evaluation.control.layout.joint_attention import has_joint_attention, joint_attention_probabilities

if TYPE_CHECKING:  # at run time they are imported where they are needed: it takes a while
    from diffusers import ModelMixin

WANTED_SIDE = 16  # cells on a side of the maps; of a network with several sizes the nearest is taken


@dataclass(frozen=True)
class AttentionMaps:
    """What was recorded: per layer one map ``[B, heads, pixels, tokens]`` for every call, with its gradient."""

    layers: dict[str, list[Tensor]] = field(default_factory=dict)

    def clear(self) -> None:
        """Forget the calls so far, and their graphs."""
        self.layers.clear()

    def mean(self, batch: int) -> Float[Tensor, "B H W T"]:
        """The mean over heads, calls and the layers of one size, for the last ``batch`` samples of each call.

        Under guidance the first half of a call is the empty prompt, which has no words to attend to. Raises ValueError
        when nothing was recorded, or when the image is not a square.
        """
        maps = [call[-batch:].mean(1) for calls in self.layers.values() for call in calls]  # B pixels tokens
        if not maps:
            raise ValueError("no cross-attention was recorded: call the network inside the block")
        sides = {math.isqrt(found.shape[1]) for found in maps}
        side = min(sides, key=lambda s: (abs(math.log(s / WANTED_SIDE)), s))
        chosen = [found for found in maps if math.isqrt(found.shape[1]) == side]
        if any(found.shape[1] != side**2 for found in chosen):
            raise ValueError(f"cross-attention over {chosen[0].shape[1]} places is not a square; use square images")
        return torch.stack(chosen).mean(0).unflatten(1, (side, side))


class _Recorder:
    """A processor with the stock one's output that records its attention probabilities."""

    def __init__(self, stock, name: str, maps: AttentionMaps):
        self.stock, self.name, self.maps = stock, name, maps

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, **kwargs):
        if encoder_hidden_states is not None:  # some UNets use attn2 for a second self-attention
            found = attention_probabilities(attn, hidden_states, encoder_hidden_states, attention_mask)
            self.maps.layers.setdefault(self.name, []).append(found)
        return self.stock(attn, hidden_states, encoder_hidden_states, attention_mask, **kwargs)


class _JointRecorder:
    """The same for a layer in which image and text attend to each other."""

    def __init__(self, stock, name: str, maps: AttentionMaps):
        self.stock, self.name, self.maps = stock, name, maps

    def __call__(
        self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, image_rotary_emb=None, **kwargs
    ):
        found = joint_attention_probabilities(attn, hidden_states, encoder_hidden_states, image_rotary_emb)
        self.maps.layers.setdefault(self.name, []).append(found)
        rotary = () if image_rotary_emb is None else (image_rotary_emb,)  # SD 3 has none
        return self.stock(attn, hidden_states, encoder_hidden_states, attention_mask, *rotary, **kwargs)


def _text_layers(network: "ModelMixin") -> tuple[list[str], type[_Recorder] | type[_JointRecorder]]:
    """The layers of a network that attend to text, and what records them; none where it has no such layers."""
    names = [name.removesuffix(".processor") for name in getattr(network, "attn_processors", {})]
    joint = [name for name in names if has_joint_attention(network.get_submodule(name))]
    return (joint, _JointRecorder) if joint else ([name for name in names if "attn2" in name], _Recorder)


def _heads(attn, projection: nn.Module, norm: nn.Module | None, states: Tensor) -> Tensor:
    """Queries or keys, ``[B heads, L, D]``; a norm acts across heads (SANA) or inside each."""
    states = projection(states)
    if norm is None:
        return attn.head_to_batch_dim(states)
    assert isinstance(norm.weight, Tensor)
    if norm.weight.shape[-1] == states.shape[-1]:
        return attn.head_to_batch_dim(norm(states))
    return norm(attn.head_to_batch_dim(states))


def attention_probabilities(
    attn, hidden_states: Float[Tensor, "B P D"], text: Float[Tensor, "B T E"], mask: Tensor | None
) -> Float[Tensor, "B heads P T"]:
    """How much of each place's attention goes to each token; over tokens they sum to 1, masked ones get none."""
    batch, tokens, _ = text.shape
    mask = attn.prepare_attention_mask(mask, tokens, batch)
    if attn.norm_cross:
        text = attn.norm_encoder_hidden_states(text)
    query = _heads(attn, attn.to_q, attn.norm_q, hidden_states)
    key = _heads(attn, attn.to_k, attn.norm_k, text)
    return attn.get_attention_scores(query, key, mask).unflatten(0, (batch, attn.heads))


@contextmanager
def cross_attention(network: "ModelMixin", layers: Sequence[str] | None = None) -> Iterator[AttentionMaps]:
    """Maps of every call of ``network`` inside the block; its own processors come back afterwards, also on error.

    With ``layers`` only those of that name, or inside a block of that name. Raises ValueError, in one line, for a
    network that has no cross-attention, or none of a name.
    """
    stock, (names, recorder) = dict(getattr(network, "attn_processors", {})), _text_layers(network)
    if not names:
        needs = "layout control needs a network with attention to its prompt"
        raise ValueError(f"{type(network).__name__} has no cross-attention maps; {needs}")
    # whole words: blocks.1 is not blocks.10
    found = {word: [name for name in names if f"{word}." in f"{name}."] for word in layers or []}
    absent = [word for word, matching in found.items() if not matching]
    if absent:
        raise ValueError(f"attention_layers {', '.join(absent)}: no such layer; there are {', '.join(names)}")
    chosen = names if layers is None else [name for name in names if any(name in part for part in found.values())]
    maps = AttentionMaps()
    recording = {
        name: recorder(own, name, maps) if name.removesuffix(".processor") in chosen else own
        for name, own in stock.items()
    }
    network.set_attn_processor(recording)
    try:
        yield maps
    finally:
        network.set_attn_processor(stock)
