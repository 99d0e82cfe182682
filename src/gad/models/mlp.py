"""The Swiss-roll student: a small multilayer perceptron on flat latents."""

import math
from pathlib import Path

import torch
from torch import Tensor, nn

from gad.diffusion.conditioning import Conditioning
from gad.diffusion.denoiser import NetworkDenoiser
from gad.diffusion.schedule import CosineSchedule
from gad.models.weights import load_weights_whole, one_line
from gad.runtime.atomic import atomic_write_path
from gad.runtime.files import read_json, read_tensors, write_json, write_tensors

FREQUENCIES = 4  # sine and cosine pairs that tell the network its time


class PointNetwork(nn.Module):
    """x0 from a noisy point ``[B, dim, 1, 1]`` and its time in [0, 1]."""

    def __init__(self, hidden: int, layers: int, dim: int = 2):
        super().__init__()
        self.config = {"hidden": hidden, "layers": layers, "dim": dim}
        widths = [dim + 2 * FREQUENCIES] + [hidden] * layers
        blocks = [nn.Sequential(nn.Linear(a, b), nn.SiLU()) for a, b in zip(widths[:-1], widths[1:], strict=True)]
        self.body = nn.Sequential(*blocks, nn.Linear(hidden, dim))

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        phases = math.pi * t[:, None] * torch.arange(1, FREQUENCIES + 1).to(t)
        features = torch.cat([x_t.flatten(1), phases.sin(), phases.cos()], dim=1)
        return self.body(features).view_as(x_t)


def _call_point_network(network: nn.Module, x_t: Tensor, timestep: Tensor, conditioning: Conditioning | None) -> Tensor:
    return network(x_t, timestep)


def point_denoiser(network: PointNetwork) -> NetworkDenoiser:
    """The network as a denoiser that predicts x0 on the cosine schedule."""
    return NetworkDenoiser(network, _call_point_network, CosineSchedule(), "x0")


def build_point_network(hidden: int, layers: int, *, seed: int) -> PointNetwork:
    """A fresh network whose weights depend on the seed alone."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return PointNetwork(hidden, layers)


def save_point_network(network: PointNetwork, folder: Path) -> None:
    with atomic_write_path(folder) as partial:
        partial.mkdir()
        write_json(partial / "config.json", network.config)
        write_tensors(partial / "network.safetensors", network.state_dict())


def load_point_network(folder: Path) -> PointNetwork:
    """The saved network, frozen. Raises ValueError, in one line, for a config of another or weights that are not
    whole."""
    try:
        network = PointNetwork(**read_json(folder / "config.json"))
        load_weights_whole(network, read_tensors(folder / "network.safetensors"))
    except (TypeError, ValueError, OSError) as error:
        raise ValueError(f"cannot load a 2-D network from {folder}: {one_line(error)}") from error
    return network.eval().requires_grad_(False)
