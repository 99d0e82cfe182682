"""What a network is conditioned on beside x_t and t: text embeddings and what goes with them."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Float
from torch import Tensor

from gad.diffusion.shapes import PerSample, PromptEmbeds, PromptMask
from gad.runtime.devices import send_to_device


@dataclass(frozen=True)
class Conditioning:
    """Text conditioning of a batch. ``prompt_attention_mask`` is None for families that do not mask (SD).

    ``pooled_prompt_embeds`` is one vector a prompt, where a family reads one (SDXL, SD 3, FLUX). ``guidance`` is the
    guidance scale for a network that reads it as an input (FLUX.1 dev); None stands for 1, none.
    """

    prompt_embeds: PromptEmbeds
    prompt_attention_mask: PromptMask | None = None
    pooled_prompt_embeds: Float[Tensor, "B P"] | None = None
    guidance: PerSample | None = None

    @property
    def device(self) -> torch.device:
        return self.prompt_embeds.device

    @property
    def tensors(self) -> dict[str, Tensor]:
        """What there is, by its name: ``Conditioning(**tensors)`` is the same again."""
        return {field.name: value for field in fields(self) if (value := getattr(self, field.name)) is not None}

    def __len__(self) -> int:
        return len(self.prompt_embeds)

    def __getitem__(self, index: slice | list[int] | Tensor) -> "Conditioning":
        return self._map(lambda tensor: tensor[index])

    def repeated(self, count: int) -> "Conditioning":
        """A batch of one as a batch of ``count``, without waiting for a GPU as an index would."""
        return self._map(lambda tensor: tensor.expand(count, *tensor.shape[1:]))

    def to(self, device: torch.device | str) -> "Conditioning":
        return self._map(lambda tensor: send_to_device(tensor, device))

    def embeds_in(self, dtype: torch.dtype) -> "Conditioning":
        """The same with its embeddings in ``dtype``."""
        pooled = self.pooled_prompt_embeds
        return replace(
            self,
            prompt_embeds=self.prompt_embeds.to(dtype),
            pooled_prompt_embeds=None if pooled is None else pooled.to(dtype),
        )

    def guided_by(self, guidance_scale: float) -> "Conditioning":
        """The same with the guidance scale of every sample, for a network that reads it."""
        return replace(self, guidance=torch.full((len(self),), guidance_scale, device=self.device))

    def _map(self, function: Callable[[Tensor], Tensor]) -> "Conditioning":
        return Conditioning(**{name: function(tensor) for name, tensor in self.tensors.items()})


def concatenate_conditioning(*parts: Conditioning) -> Conditioning:
    """The batches one after another."""
    names = parts[0].tensors.keys()
    assert all(part.tensors.keys() == names for part in parts), "a family has the same parts for all of its prompts"
    return Conditioning(**{name: torch.cat([part.tensors[name] for part in parts]) for name in names})
