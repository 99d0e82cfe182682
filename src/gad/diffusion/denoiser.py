"""One protocol for every network: ``x0 = denoise(x_t, t, conditioning)``.

eps, v and flow predictions are converted here, once. Nothing downstream asks what a network predicts.
"""

import copy
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from gad.diffusion.conditioning import Conditioning
from gad.diffusion.schedule import OnSchedule, Parameterisation, Schedule, to_x0
from gad.diffusion.shapes import Latent, PerSample


@runtime_checkable
class Denoiser(Protocol):
    """A map from a noisy latent to its clean-latent prediction, with the schedule it was made for."""

    @property
    def schedule(self) -> Schedule: ...

    def __call__(self, x_t: Latent, t: PerSample, conditioning: Conditioning | None) -> Latent: ...


NetworkCall = Callable[[nn.Module, Tensor, Tensor, Conditioning | None], Tensor]


class NetworkDenoiser(OnSchedule):
    """A diffusers network that predicts x0, float32 in and out, whatever dtype the network computes in.

    The network may lie on another device than its inputs: they are moved there and outputs moved back.
    ``compute`` is that dtype where it is not the weights': while a network learns its weights stay float32, since
    updates of 1e-6 are lost in half precision.
    """

    def __init__(self, network: nn.Module, call: NetworkCall, schedule: Schedule, parameterisation: Parameterisation):
        super().__init__()
        self.network = network
        self.call = call
        self.schedule = schedule
        self.parameterisation = parameterisation
        self.compute: torch.dtype | None = None

    def copied(self, shared: Iterable[nn.Parameter] = ()) -> "NetworkDenoiser":
        """The same with weights of its own, but for those that are ``shared``; it computes in their dtype."""
        network = copy.deepcopy(self.network, {id(parameter): parameter for parameter in shared})
        return NetworkDenoiser(network, self.call, self.schedule, self.parameterisation)

    def output(self, x_t: Latent, t: PerSample, conditioning: Conditioning | None) -> Latent:
        """The network's own prediction (eps, v or flow), float32 or wider."""
        weight = next(self.network.parameters())
        device, dtype = weight.device, self.compute or weight.dtype
        if conditioning is not None:
            conditioning = conditioning.to(device).embeds_in(dtype)
        timestep = self.schedule.timestep(t).to(device)
        with torch.autocast(device.type, dtype) if self.compute else nullcontext():
            return self.call(self.network, x_t.to(device, dtype), timestep, conditioning).to(x_t)

    def forward(self, x_t: Latent, t: PerSample, conditioning: Conditioning | None = None) -> Latent:
        output = self.output(x_t, t, conditioning)
        return to_x0(self.schedule, output, x_t, t, self.parameterisation)


class Recomputed:
    """A denoiser whose calls are made again for their gradient: of a trajectory's graph one call is held at a time."""

    def __init__(self, denoiser: Denoiser):
        self.denoiser = denoiser
        self.schedule = denoiser.schedule

    def __call__(self, x_t: Latent, t: PerSample, conditioning: Conditioning | None) -> Latent:
        return checkpoint(self.denoiser, x_t, t, conditioning, use_reentrant=False)
