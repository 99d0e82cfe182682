"""What T5 knows of captions before a network listens to it: each word names its neighbours.

Relative biases are all that T5 knows of order. Trained only through its denoiser it becomes a bag of words: at first
every word sees the same average of all others, which is no use to the denoiser and is learnt away, and "a sun above a
car" stays "a car above a sun". PixArt's T5 comes pretrained and stays frozen; so does this one.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

if TYPE_CHECKING:  # at run time they are imported where they are needed: it takes a while
    from transformers import PreTrainedModel

OFFSETS = (-3, -2, -1, 0, 1, 2, 3)  # the places, seen from a word, whose words it names
BATCH_SIZE = 64
LR = 2e-3
NO_WORD = -100  # a label that cross entropy leaves out


def neighbour_tokens(ids: Int[Tensor, "B L"], mask: Int[Tensor, "B L"]) -> Int[Tensor, "B L K"]:
    """The token at each of ``OFFSETS`` from every token; ``NO_WORD`` where the caption has none."""
    length = ids.shape[1]
    place = torch.arange(length)[:, None] + torch.tensor(OFFSETS)
    inside = (place >= 0) & (place < length)
    place = place.clamp(0, length - 1)
    return ids[:, place].masked_fill(~inside | (mask[:, place] == 0) | (mask[:, :, None] == 0), NO_WORD)


def pretrain_t5(
    encoder: "PreTrainedModel", ids: Int[Tensor, "N L"], mask: Int[Tensor, "N L"], *, num_steps: int, seed: int
) -> Iterator[dict]:
    """Yield step and loss (nats a neighbour) while the encoder learns; afterwards it is frozen.

    A linear head per offset, thrown away at the end, reads the neighbour from the encoder's output.
    """
    generator = torch.Generator().manual_seed(seed)
    words, width = encoder.config.vocab_size, encoder.config.d_model
    heads = nn.Linear(width, len(OFFSETS) * words, bias=False)
    nn.init.normal_(heads.weight, std=width**-0.5, generator=generator)
    parameters = [*encoder.train().requires_grad_(True).parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=LR, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / num_steps)
    for step in range(num_steps):
        index = torch.randint(len(ids), (BATCH_SIZE,), generator=generator)
        loss = t5_pretraining_loss(encoder, heads, ids[index], mask[index]).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        yield {"step": step, "loss": loss.item()}
    encoder.eval().requires_grad_(False)


def t5_pretraining_loss(
    encoder: nn.Module, heads: nn.Linear, ids: Int[Tensor, "B L"], mask: Int[Tensor, "B L"]
) -> Float[Tensor, " B"]:
    """Mean cross entropy of every word's neighbours per caption, in nats (lower is better)."""
    labels = neighbour_tokens(ids, mask)
    answer = encoder(ids, attention_mask=mask).last_hidden_state
    logits = heads(answer).unflatten(-1, (len(OFFSETS), -1))
    error = cross_entropy(logits.flatten(0, 2), labels.flatten(), ignore_index=NO_WORD, reduction="none")
    return error.view(len(ids), -1).sum(1) / (labels != NO_WORD).flatten(1).sum(1)
