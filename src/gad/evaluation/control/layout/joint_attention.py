"""What a place of the image attends to among a prompt's tokens, where image and text attend to all tokens of both.

.. math:: A = \\mathrm{softmax}\\left(Q K_\\text{text}^\\top / \\sqrt{d}\\right)

That is the joint softmax's share of each text token, divided by the share of all of them.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

Rotary = tuple[Float[Tensor, "L R"], Float[Tensor, "L R"]]
"""Cosines and sines of the rotary embedding of text tokens, then of places."""


def has_joint_attention(module: nn.Module) -> bool:
    """Whether an attention layer has keys of its own for text (SD 3, FLUX)."""
    return getattr(module, "add_k_proj", None) is not None


def joint_attention_probabilities(
    attn, hidden_states: Float[Tensor, "B P D"], text: Float[Tensor, "B T E"], rotary: Rotary | None = None
) -> Float[Tensor, "B heads P T"]:
    """How much of each place's attention to the text goes to each token; over tokens they sum to 1.

    Text stands at position 0, where the rotary embedding turns nothing: only the image's queries are turned.
    """
    query = _heads(attn, attn.to_q, attn.norm_q, hidden_states)
    key = _heads(attn, attn.add_k_proj, attn.norm_added_k, text)
    if rotary is not None:
        from diffusers.models.embeddings import apply_rotary_emb  # here, since it takes seconds

        of_places = tuple(part[text.shape[1] :] for part in rotary)
        query = apply_rotary_emb(query, of_places, sequence_dim=1)
    scores = torch.einsum("bphd,bthd->bhpt", query, key) / math.sqrt(query.shape[-1])
    return scores.softmax(-1)


def _heads(attn, projection: nn.Module, norm: nn.Module | None, states: Tensor) -> Float[Tensor, "B L heads d"]:
    parted = projection(states).unflatten(-1, (attn.heads, -1))
    return parted if norm is None else norm(parted)
