"""The published networks by name: their configurations, and what their text encoders hand over.

The tests compare the parameters that the configurations give with the published counts.
"""

import json
from dataclasses import dataclass
from functools import cache
from os.path import isfile
from typing import TYPE_CHECKING

import torch
from diffusers import (
    FluxTransformer2DModel,
    PixArtTransformer2DModel,
    SanaTransformer2DModel,
    SD3Transformer2DModel,
    UNet2DConditionModel,
)
from torch import nn

from gad.config.lora import LoraConfig
from gad.diffusion.schedule import FlowSchedule, Parameterisation, Schedule, TableSchedule
from gad.models.adapter import count_adapter_parameters
from gad.models.families import FAMILIES, family_latent_side
from gad.models.family import Family
from gad.preflight.published_configs import (
    FLUX_DEV,
    FLUX_SCHNELL,
    PIXART,
    SANA_600M,
    SANA_1600M,
    SD3_MEDIUM,
    SD21,
    SD35_LARGE,
    SD35_MEDIUM,
    SDXL,
)
from gad.runtime.files import read_json
from gad.runtime.paths import project_path

if TYPE_CHECKING:  # at run time they are imported where they are needed: it takes a while
    from diffusers import ModelMixin

BETAS = {"scaled_linear": (0.00085, 0.012), "linear": (0.0001, 0.02)}  # of the published schedulers, 1000 steps


@dataclass(frozen=True, eq=False)  # told apart as objects: ``config`` has no hash
class Architecture:
    """A network as it is published, and the embeddings that it reads: ``tokens`` x ``width``."""

    kind: type["ModelMixin"]
    config: dict
    pipeline: str
    betas: str | None  # None: flow
    tokens: int
    width: int
    masked: bool
    text_parameters: int  # of the text encoders
    pooled: int | None = None  # width of the pooled embedding, where the network reads one
    image_channels: int = 3

    @property
    def schedule(self) -> tuple[Schedule, Parameterisation]:
        return (FlowSchedule(), "flow") if self.betas is None else (TableSchedule(_alphas(self.betas)), "eps")

    @property
    def family(self) -> Family:
        return FAMILIES[self.pipeline]

    @property
    def side(self) -> int:
        """Side of the latents that it was published for."""
        return family_latent_side(self.family, self.config, self.pipeline)


def _alphas(kind: str) -> torch.Tensor:
    low, high = BETAS[kind]
    if kind == "scaled_linear":
        betas = torch.linspace(low**0.5, high**0.5, 1000) ** 2
    else:
        betas = torch.linspace(low, high, 1000)
    return torch.cumprod(1 - betas, dim=0)


_T5_XXL, _GEMMA_2B, _OPENCLIP_H = 4_762_310_656, 2_614_341_888, 340_387_840
_CLIP_L, _OPENCLIP_G, _CLIP_L_PROJECTION = 123_060_480, 694_659_840, 589_824
_SDXL_READERS = _CLIP_L + _OPENCLIP_G
_SD3_READERS = _SDXL_READERS + _CLIP_L_PROJECTION + _T5_XXL


def _sd3(config: dict) -> Architecture:
    return Architecture(
        SD3Transformer2DModel, config, "StableDiffusion3Pipeline", None, 77 + 256, 4096, False, _SD3_READERS, 2048
    )


def _flux(config: dict) -> Architecture:
    return Architecture(FluxTransformer2DModel, config, "FluxPipeline", None, 512, 4096, False, _CLIP_L + _T5_XXL, 768)


ARCHITECTURES = {
    "sd21": Architecture(
        UNet2DConditionModel, SD21, "StableDiffusionPipeline", "scaled_linear", 77, 1024, False, _OPENCLIP_H
    ),
    "sdxl": Architecture(
        UNet2DConditionModel, SDXL, "StableDiffusionXLPipeline", "scaled_linear", 77, 2048, False, _SDXL_READERS, 1280
    ),
    "pixart": Architecture(
        PixArtTransformer2DModel, PIXART, "PixArtAlphaPipeline", "linear", 120, 4096, True, _T5_XXL
    ),
    "sana_600m": Architecture(
        SanaTransformer2DModel, SANA_600M, "SanaPipeline", None, 300, 2304, True, _GEMMA_2B
    ),
    "sana_1600m": Architecture(
        SanaTransformer2DModel, SANA_1600M, "SanaPipeline", None, 300, 2304, True, _GEMMA_2B
    ),
    "sd3_medium": _sd3(SD3_MEDIUM),
    "sd35_medium": _sd3(SD35_MEDIUM),
    "sd35_large": _sd3(SD35_LARGE),
    "flux_dev": _flux(FLUX_DEV),
    "flux_schnell": _flux(FLUX_SCHNELL),
}  # fmt: skip
BY_TEACHER = {  # the end of a hub name or folder
    "stable-diffusion-2-1-base": "sd21",
    "stable-diffusion-xl-base-1.0": "sdxl",
    "PixArt-XL-2-512x512": "pixart",
    "Sana_600M_512px_diffusers": "sana_600m",
    "Sana_1600M_512px_diffusers": "sana_1600m",
    "stable-diffusion-3-medium-diffusers": "sd3_medium",
    "stable-diffusion-3.5-medium": "sd35_medium",
    "stable-diffusion-3.5-large": "sd35_large",
    "FLUX.1-dev": "flux_dev",
    "FLUX.1-schnell": "flux_schnell",
}


def architecture_of(pretrained: str | None) -> Architecture:
    """The architecture of a teacher's hub name or folder. Raises ValueError for one that is not known, or made here."""
    if not pretrained:
        raise ValueError("the teacher of this recipe is made here: it has no published architecture")
    name = pretrained.rstrip("/").rpartition("/")[2]
    if name in BY_TEACHER:
        return ARCHITECTURES[BY_TEACHER[name]]
    for part in ("unet", "transformer"):
        config = project_path(pretrained) / part / "config.json"
        if isfile(config):  # False for a name that the system refuses
            held = read_json(config)
            for architecture in ARCHITECTURES.values():
                published = architecture.config | {"_class_name": architecture.kind.__name__}
                if json.loads(json.dumps(published)).items() <= held.items():  # of tuples a file makes lists
                    return architecture
    raise ValueError(f"no published architecture is known for {pretrained!r}; there are: {', '.join(BY_TEACHER)}")


PER_LEVEL = ("block_out_channels", "down_block_types", "attention_head_dim", "transformer_layers_per_block")


def _reduced_architecture(architecture: Architecture, *, depth: int | None = None, size: int | None = None) -> dict:
    """The configuration with fewer layers (a UNet: levels) and another latent size; as published by default."""
    config = dict(architecture.config)
    if size is not None and "sample_size" in config:
        config["sample_size"] = size
    if depth is None:
        return config
    layers = {name: min(depth, config[name]) for name in ("num_layers", "num_single_layers") if name in config}
    if layers:
        return config | layers
    levels = len(config["block_out_channels"])
    depth = min(depth, levels)
    cut = {name: config[name][:depth] for name in PER_LEVEL if name in config}
    return config | cut | {"up_block_types": config["up_block_types"][levels - depth :], "layers_per_block": 1}


def build_architecture(
    architecture: Architecture, *, seed: int = 0, depth: int | None = None, size: int | None = None, device: str = "cpu"
) -> "ModelMixin":
    """The network with random weights; on the device "meta" it has shapes and no memory."""
    with torch.random.fork_rng(), torch.device(device):
        torch.manual_seed(seed)
        return (
            architecture.kind(**_reduced_architecture(architecture, depth=depth, size=size))
            .eval()
            .requires_grad_(False)
        )


def architecture_network_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@cache
def count_architecture_parameters(architecture: Architecture, *, depth: int | None = None) -> int:
    """Parameters of the network, from shapes alone; a published one takes a second to build."""
    return architecture_network_parameters(build_architecture(architecture, depth=depth, device="meta"))


def count_architecture_adapter(architecture: Architecture, lora: LoraConfig, *, depth: int | None = None) -> int:
    """Parameters of a recipe's adapter on the network, from shapes alone."""
    return _count_adapter(architecture, lora.rank, tuple(lora.targets), depth)


@cache
def _count_adapter(architecture: Architecture, rank: int, targets: tuple[str, ...], depth: int | None) -> int:
    network = build_architecture(architecture, depth=depth, device="meta")
    return count_adapter_parameters(network, LoraConfig(rank=rank, targets=list(targets)))


def architecture_image_tokens(architecture: Architecture, size: int | None = None) -> int:
    """Places that the network works on for one image: a UNet's latent pixels, a transformer's patches."""
    return architecture.family.image_tokens(architecture.config, size or architecture.side)
