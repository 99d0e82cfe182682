"""A discriminator on a frozen denoiser's features of a noisy latent: LADD's multi-scale heads (Sauer et al. 2024)."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from gad.diffusion.conditioning import Conditioning
from gad.diffusion.denoiser import Denoiser, NetworkDenoiser
from gad.diffusion.schedule import OnSchedule, Schedule
from gad.diffusion.shapes import Latent, PerSample, expand_per_sample
from gad.runtime.fsdp import is_sharded

if TYPE_CHECKING:  # at run time they are imported where they are needed: it takes a while
    from diffusers import ModelMixin

WIDTH = 64  # channels inside a head

Features = Callable[[Latent, PerSample, Conditioning | None], list[Tensor]]
"""Feature maps ``[B, C, h, w]`` of a noisy latent."""


def discriminator_blocks(network: "ModelMixin") -> list[nn.Module]:
    """Where features are read: a UNet's way down and its middle, or every second block of a transformer (FLUX: of
    both of its kinds of block)."""
    if hasattr(network, "down_blocks"):
        return [*network.down_blocks, network.mid_block]
    return [*network.transformer_blocks, *getattr(network, "single_transformer_blocks", ())][1::2]


def _as_map(output, like: Latent) -> Tensor:
    """A block's output as a map; tokens are laid out in rows, as they were cut.

    A UNet's block also returns what it hands across, a tuple; one that mixes text and image tokens returns the image's
    last.
    """
    hidden = output
    if isinstance(output, tuple):
        hidden = output[-1] if isinstance(output[-1], Tensor) else output[0]
    if hidden.ndim == 4:
        return hidden
    height = round(math.sqrt(hidden.shape[1] * like.shape[2] / like.shape[3]))
    return hidden.transpose(1, 2).unflatten(2, (height, hidden.shape[1] // height))


class _Enough(Exception):
    """The last block that is read has been computed."""


def _may_stop(network: nn.Module) -> bool:
    """Whether a call may end early: hooks of a parted network, and compiled code, have to see it through."""
    return not is_sharded(network) and network._compiled_call_impl is None


def discriminator_features(denoiser: NetworkDenoiser) -> Features:
    """Maps inside the network, read by hooks that stay only for the call.

    A UNet's way up, more than half of its work, is not walked.
    """

    def features(x_t: Latent, t: PerSample, conditioning: Conditioning | None) -> list[Tensor]:
        maps: list[Tensor] = []
        blocks, may_stop = discriminator_blocks(denoiser.network), _may_stop(denoiser.network)

        def read(module, inputs, output) -> None:
            maps.append(_as_map(output, x_t))
            if may_stop and len(maps) == len(blocks):
                raise _Enough

        hooks = [block.register_forward_hook(read) for block in blocks]
        try:
            denoiser.output(x_t, t, conditioning)
        except _Enough:
            pass
        finally:
            for hook in hooks:
                hook.remove()
        return [feature.float() for feature in maps]

    return features


def _point_features(denoiser: Denoiser) -> Features:
    """For a teacher without a network: the state, the teacher's x0 and the time."""

    def features(x_t: Latent, t: PerSample, conditioning: Conditioning | None) -> list[Tensor]:
        return [
            torch.cat([x_t, denoiser(x_t, t, conditioning), expand_per_sample(t, x_t).expand_as(x_t[:, :1])], dim=1)
        ]

    return features


def _pooled(conditioning: Conditioning | None) -> Tensor | None:
    """The mean prompt embedding of each sample, ``[B, D]`` float32, padding left out where it is masked."""
    if conditioning is None:
        return None
    # cached embeddings may be of half precision; the heads are not
    embeds, mask = conditioning.prompt_embeds.float(), conditioning.prompt_attention_mask
    weight = torch.ones_like(embeds[..., :1]) if mask is None else mask[..., None].to(embeds)
    return (embeds * weight).sum(1) / weight.sum(1).clamp(min=1)


class Head(nn.Module):
    """One logit for each place of a feature map; the prompt enters as a projection."""

    def __init__(self, channels: int, text_width: int | None):
        super().__init__()
        layers = [nn.Conv2d(channels, WIDTH, 1), nn.GroupNorm(1, WIDTH), nn.SiLU()]
        self.body = nn.Sequential(*layers, nn.Conv2d(WIDTH, WIDTH, 3, padding=1), nn.SiLU())
        self.place = nn.Conv2d(WIDTH, 1, 1)
        self.text = nn.Linear(text_width, WIDTH) if text_width else None

    def forward(self, feature: Tensor, text: Tensor | None) -> Tensor:
        hidden = self.body(feature)
        logits = self.place(hidden)
        if self.text is not None:
            logits = logits + (hidden * self.text(text)[:, :, None, None]).mean(1, keepdim=True)
        return logits.flatten(1)


class Discriminator(OnSchedule):
    """Logits ``[B, K]`` of a noisy latent: heads of all features side by side. Only the heads are its parameters."""

    def __init__(self, features: Features, schedule: Schedule, channels: list[int], text_width: int | None):
        super().__init__()
        self.features, self.schedule = features, schedule
        self.heads = nn.ModuleList(Head(count, text_width) for count in channels)

    def forward(self, x_t: Latent, t: PerSample, conditioning: Conditioning | None) -> Tensor:
        maps, text = self.features(x_t, t, conditioning), _pooled(conditioning)
        return torch.cat([head(feature, text) for head, feature in zip(self.heads, maps, strict=True)], dim=1)


def build_discriminator(
    denoiser: Denoiser, shape: tuple[int, int, int], conditioning: Conditioning | None, *, seed: int
) -> Discriminator:
    """Heads for the features that the denoiser has at latents of ``shape``; weights from the seed alone.

    ``conditioning`` is any batch of one, to learn the sizes from.
    """
    features = discriminator_features(denoiser) if isinstance(denoiser, NetworkDenoiser) else _point_features(denoiser)
    with torch.no_grad():
        maps = features(torch.zeros(1, *shape), torch.full((1,), 0.5), conditioning)
    text = _pooled(conditioning)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        channels, width = [feature.shape[1] for feature in maps], None if text is None else text.shape[1]
        return Discriminator(features, denoiser.schedule, channels, width)
