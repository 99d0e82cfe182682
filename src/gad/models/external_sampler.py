"""A diffusers pipeline as a noise-to-image map, whatever its own sampler does inside."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from gad.config.external import ExternalStudent
from gad.diffusion.conditioning import Conditioning
from gad.diffusion.guidance import guided_output
from gad.diffusion.schedule import FlowSchedule, Schedule
from gad.diffusion.shapes import Latent, PerSample, Trajectory
from gad.models.families import reads_its_guidance
from gad.models.pipeline_schedule import dynamic_shift
from gad.models.pipelines import pipeline_family, pipeline_network

if TYPE_CHECKING:  # imported where they are used at run time, since that takes seconds
    from diffusers import DiffusionPipeline, SchedulerMixin

OPTIONS = {"num_steps", "timesteps", "sigmas", "guidance_scale", "eta", "seed"}  # of the sampler


def external_sampler_steps(
    pipeline: "DiffusionPipeline",
    noise: Latent,
    conditioning: Conditioning,
    *,
    num_steps: int,
    timesteps: list[int] | None = None,
    sigmas: list[float] | None = None,
    guidance_scale: float = 1.0,
    uncond: Conditioning | None = None,
    eta: float = 0.0,
    seed: int = 0,
    stop: int | None = None,
) -> Iterator[tuple[Tensor | None, Latent]]:
    """Yield each timestep of the pipeline's own scheduler with the state that the network is shown there, at last None
    with x0 ``[B, C, H, W]``, as ``__call__`` would give it, or with the state after ``stop`` steps.

    A stochastic scheduler (LCM, TCD, ancestral) adds the same noise to every sample, drawn from ``seed``: so the map
    from initial noise to x0 is a function, whatever the batch, and differences of it are taken under equal draws.
    """
    side, given = noise.shape[-1], {"timesteps": timesteps, "sigmas": sigmas}
    times = sampler_times(pipeline, pipeline.scheduler, side, num_steps=num_steps, given=given)
    scheduler = fresh_sampler_scheduler(pipeline.scheduler, times)
    if reads_its_guidance(pipeline_network(pipeline)):
        conditioning, guidance_scale = conditioning.guided_by(guidance_scale), 1.0

    def predict(timestep: Tensor, x: Latent) -> Latent:
        return guided_output(partial(_predict, pipeline, timestep), x, conditioning, uncond, guidance_scale)

    yield from sampler_scheduler_steps(scheduler, noise, predict, eta=eta, seed=seed, stop=stop)


def sampler_times(
    pipeline: "DiffusionPipeline",
    scheduler: "SchedulerMixin",
    side: int,
    *,
    num_steps: int,
    given: Mapping[str, object],
) -> dict[str, object]:
    """What a stock pipeline hands ``scheduler.set_timesteps`` for latents of ``side``: the ``timesteps`` or ``sigmas``
    given, else its family's; and the shift of a scheduler whose times depend on the size of the image."""
    family = pipeline_family(pipeline)
    given = {name: value for name, value in given.items() if value is not None}
    takes_sigmas = "sigmas" in inspect.signature(scheduler.set_timesteps).parameters
    if not given and family.linear_sigmas and takes_sigmas and not scheduler.config.get("use_flow_sigmas"):
        given["sigmas"] = torch.linspace(1, 1 / num_steps, num_steps).tolist()
    if scheduler.config.get("use_dynamic_shifting"):
        given["mu"] = dynamic_shift(scheduler, family.image_tokens(pipeline_network(pipeline).config, side))
    return given if {"timesteps", "sigmas"} & given.keys() else given | {"num_inference_steps": num_steps}


def fresh_sampler_scheduler(scheduler: "SchedulerMixin", times: dict[str, object]) -> "SchedulerMixin":
    """A scheduler like the given one at its first step, since it counts them, at what :func:`sampler_times` gives."""
    scheduler = type(scheduler).from_config(scheduler.config)
    scheduler.set_timesteps(**times)
    return scheduler


def sampler_scheduler_steps(
    scheduler: "SchedulerMixin",
    noise: Latent,
    predict: Callable[[Tensor, Latent], Latent],
    *,
    eta: float,
    seed: int,
    stop: int | None = None,
) -> Iterator[tuple[Tensor | None, Latent]]:
    """The same for a scheduler at its first step and any ``predict(timestep, x)`` in place of the network's output."""
    generators = [torch.Generator().manual_seed(seed) for _ in range(len(noise))]
    known = inspect.signature(scheduler.step).parameters
    extra = {name: value for name, value in {"generator": generators, "eta": eta}.items() if name in known}
    x = noise * getattr(scheduler, "init_noise_sigma", 1.0)
    for timestep in scheduler.timesteps[:stop]:
        scaled = scheduler.scale_model_input(x, timestep) if hasattr(scheduler, "scale_model_input") else x
        yield timestep, scaled
        x = scheduler.step(predict(timestep, scaled), timestep, x, **extra, return_dict=False)[0]
    yield None, x


def _predict(pipeline: "DiffusionPipeline", timestep: Tensor, x: Latent, prompts: Conditioning) -> Latent:
    """The network's own output in its dtype and on its device, brought back to those of ``x``."""
    network = pipeline_network(pipeline)
    weight = next(network.parameters())
    prompts = prompts.to(weight.device).embeds_in(weight.dtype)
    times = timestep.to(weight.device).expand(len(x))
    return pipeline_family(pipeline).call(network, x.to(weight), times, prompts).to(x)


@dataclass(frozen=True)
class ExternalSampler:
    """A pipeline's whole trajectory as a denoiser of one call: at t = 1 it returns the trajectory's x0.

    Raises ValueError at any other time: what happens inside the trajectory is its own.
    """

    pipeline: "DiffusionPipeline"
    settings: ExternalStudent
    uncond: Conditioning | None
    times: Schedule  # in which the trajectory's times are told
    schedule: Schedule = FlowSchedule()  # alpha_0 = 1, sigma_0 = 0: one step of it ends on x0

    @property
    def network(self) -> nn.Module:
        return pipeline_network(self.pipeline)

    def __call__(self, x_t: Latent, t: PerSample, conditioning: Conditioning | None) -> Latent:
        assert conditioning is not None, "a pipeline reads prompts"
        if not bool((t == 1).all()):
            raise ValueError(f"{self.settings.name} is a noise-to-image map and has no prediction at t < 1")
        return self.begin(x_t, conditioning)

    def begin(self, noise: Latent, conditioning: Conditioning, *, calls: int | None = None) -> Latent:
        """The state after the trajectory's first ``calls``, or x0."""
        *_, (_, state) = self._chain(noise, conditioning, stop=calls)
        return state

    def path(self, noise: Latent, conditioning: Conditioning) -> tuple[Schedule, Trajectory, list[float]]:
        """The schedule ``times``, the trajectory's states on it and their falling times, x0 at t = 0 the last.

        Of several states at one time, as second-order samplers have them, the last one counts.
        """
        states: dict[float, Latent] = {}
        for timestep, state in self._chain(noise, conditioning):
            t = 0.0 if timestep is None else self.times.time(timestep.reshape(1)).item()
            states = {time: kept for time, kept in states.items() if time > t} | {t: state}
        return self.times, torch.stack(list(states.values())), list(states)

    def _chain(
        self, noise: Latent, conditioning: Conditioning, *, stop: int | None = None
    ) -> Iterator[tuple[Tensor | None, Latent]]:
        options = self.settings.model_dump(include=OPTIONS)
        return external_sampler_steps(self.pipeline, noise, conditioning, uncond=self.uncond, stop=stop, **options)
