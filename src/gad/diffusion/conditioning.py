"""What a network is conditioned on beside x_t and t: text embeddings and what goes with them."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gad.diffusion.shapes import PromptEmbeds, PromptMask
from gad.runtime.devices import send_to_device


@dataclass(frozen=True)
class Conditioning:
    """Text conditioning of a batch. ``prompt_attention_mask`` is None for families that do not mask (SD)."""

    prompt_embeds: PromptEmbeds
    prompt_attention_mask: PromptMask | None = None

    @property
    def device(self) -> torch.device:
        return self.prompt_embeds.device

    def __len__(self) -> int:
        return len(self.prompt_embeds)

    def __getitem__(self, index: slice | list[int] | Tensor) -> "Conditioning":
        return self._map(lambda tensor: tensor[index])

    def repeated(self, count: int) -> "Conditioning":
        """A batch of one as a batch of ``count``, without waiting for a GPU as an index would."""
        return self._map(lambda tensor: tensor.expand(count, *tensor.shape[1:]))

    def to(self, device: torch.device | str) -> "Conditioning":
        return self._map(lambda tensor: send_to_device(tensor, device))

    def _map(self, function: Callable[[Tensor], Tensor]) -> "Conditioning":
        mask = self.prompt_attention_mask
        return Conditioning(function(self.prompt_embeds), None if mask is None else function(mask))


def concatenate_conditioning(*parts: Conditioning) -> Conditioning:
    """The batches one after another."""
    masks = [part.prompt_attention_mask for part in parts if part.prompt_attention_mask is not None]
    assert len(masks) in (0, len(parts)), "a family masks all of its prompts or none"
    return Conditioning(torch.cat([part.prompt_embeds for part in parts]), torch.cat(masks) if masks else None)
