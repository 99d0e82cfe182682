"""The published networks by name: their configurations, and what their text encoders hand over.

The numbers are those of the models' own ``config.json`` on the hub; the tests compare the parameters they give with the
published counts.
"""

import json
from dataclasses import dataclass
from functools import cache
from os.path import isfile
from typing import TYPE_CHECKING

import torch
from diffusers import PixArtTransformer2DModel, SanaTransformer2DModel, UNet2DConditionModel
from torch import nn

from gad.config.lora import LoraConfig
from gad.diffusion.schedule import FlowSchedule, Parameterisation, Schedule, TableSchedule
from gad.models.adapter import count_adapter_parameters
from gad.models.families import FAMILIES
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
    text_parameters: int  # of the text encoder
    image_channels: int = 3

    @property
    def schedule(self) -> tuple[Schedule, Parameterisation]:
        return (FlowSchedule(), "flow") if self.betas is None else (TableSchedule(_alphas(self.betas)), "eps")

    @property
    def call(self):
        return FAMILIES[self.pipeline].call


def _alphas(kind: str) -> torch.Tensor:
    low, high = BETAS[kind]
    if kind == "scaled_linear":
        betas = torch.linspace(low**0.5, high**0.5, 1000) ** 2
    else:
        betas = torch.linspace(low, high, 1000)
    return torch.cumprod(1 - betas, dim=0)


_SD = {
    "sample_size": 64,
    "in_channels": 4,
    "out_channels": 4,
    "block_out_channels": (320, 640, 1280, 1280),
    "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
    "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
    "attention_head_dim": (5, 10, 20, 20),
    "cross_attention_dim": 1024,
    "layers_per_block": 2,
    "use_linear_projection": True,
}
_PIXART = {
    "sample_size": 64,
    "patch_size": 2,
    "in_channels": 4,
    "out_channels": 8,
    "num_layers": 28,
    "num_attention_heads": 16,
    "attention_head_dim": 72,
    "cross_attention_dim": 1152,
    "caption_channels": 4096,
    "attention_bias": True,
    "activation_fn": "gelu-approximate",
    "norm_type": "ada_norm_single",
    "norm_elementwise_affine": False,
    "norm_eps": 1e-6,
    "num_embeds_ada_norm": 1000,
}
_SANA: dict[str, int | float] = {
    "sample_size": 16,
    "patch_size": 1,
    "in_channels": 32,
    "out_channels": 32,
    "caption_channels": 2304,
}
_SANA |= {"mlp_ratio": 2.5, "attention_bias": False, "norm_elementwise_affine": False, "norm_eps": 1e-6}
_SANA_600M = _SANA | {
    "num_layers": 28,
    "num_attention_heads": 36,
    "attention_head_dim": 32,
    "num_cross_attention_heads": 16,
    "cross_attention_head_dim": 72,
    "cross_attention_dim": 1152,
}
_SANA_1600M = _SANA | {
    "num_layers": 20,
    "num_attention_heads": 70,
    "attention_head_dim": 32,
    "num_cross_attention_heads": 20,
    "cross_attention_head_dim": 112,
    "cross_attention_dim": 2240,
}
_T5_XXL, _GEMMA_2B, _OPENCLIP_H = 4_762_310_656, 2_614_341_888, 340_387_840

ARCHITECTURES = {
    "sd21": Architecture(
        UNet2DConditionModel, _SD, "StableDiffusionPipeline", "scaled_linear", 77, 1024, False, _OPENCLIP_H
    ),
    "pixart": Architecture(
        PixArtTransformer2DModel, _PIXART, "PixArtAlphaPipeline", "linear", 120, 4096, True, _T5_XXL
    ),
    "sana_600m": Architecture(
        SanaTransformer2DModel, _SANA_600M, "SanaPipeline", None, 300, 2304, True, _GEMMA_2B
    ),
    "sana_1600m": Architecture(
        SanaTransformer2DModel, _SANA_1600M, "SanaPipeline", None, 300, 2304, True, _GEMMA_2B
    ),
}  # fmt: skip
BY_TEACHER = {  # the end of a hub name or folder
    "stable-diffusion-2-1-base": "sd21",
    "PixArt-XL-2-512x512": "pixart",
    "Sana_600M_512px_diffusers": "sana_600m",
    "Sana_1600M_512px_diffusers": "sana_1600m",
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


def _reduced_architecture(architecture: Architecture, *, depth: int | None = None, size: int | None = None) -> dict:
    """The configuration with fewer layers (a UNet: levels) and another latent size; as published by default."""
    config = dict(architecture.config)
    if size is not None:
        config["sample_size"] = size
    if depth is None:
        return config
    if "num_layers" in config:
        return config | {"num_layers": min(depth, config["num_layers"])}
    depth = min(depth, 4)
    cut = {name: config[name][:depth] for name in ("block_out_channels", "down_block_types", "attention_head_dim")}
    return config | cut | {"up_block_types": config["up_block_types"][4 - depth :], "layers_per_block": 1}


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
    config = _reduced_architecture(architecture, size=size)
    return (config["sample_size"] // config.get("patch_size", 1)) ** 2
