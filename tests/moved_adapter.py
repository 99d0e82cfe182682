"""An adapter that does something, for several test modules."""

import torch

from gad.config.lora import LoraConfig
from gad.diffusion.denoiser import NetworkDenoiser
from gad.models.adapter import adapter_weights

LORA = LoraConfig(rank=4, alpha=8)


def moved(denoiser: NetworkDenoiser) -> NetworkDenoiser:
    """The denoiser, its adapter's weights drawn anew."""
    for number, weight in enumerate(adapter_weights(denoiser.network).values()):
        weight.data.copy_(0.3 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(number)))
    return denoiser
