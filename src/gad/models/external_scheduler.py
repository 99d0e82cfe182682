"""The scheduler of an external model: the recipe's options on the folder's own, tried before any work."""

import inspect
import warnings
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gad.config.external import ExternalStudent
from gad.config.schedulers import scheduler_class, scheduler_fault, scheduler_signature
from gad.diffusion.schedule import TableSchedule
from gad.models.external_sampler import fresh_sampler_scheduler, sampler_scheduler_steps, sampler_times
from gad.models.pipeline_schedule import pipeline_schedule
from gad.models.weights import one_line

if TYPE_CHECKING:  # imported where they are used at run time, since that takes seconds
    from diffusers import DiffusionPipeline, SchedulerMixin

PURE = 0.9  # of the training timesteps: a first one below is asked of noise that it was not trained on
BETAS = {"beta_start", "beta_end", "beta_schedule", "trained_betas", "rescale_betas_zero_snr"}


def external_scheduler(pipeline: "DiffusionPipeline", settings: ExternalStudent) -> "SchedulerMixin":
    """The pipeline's scheduler with the class and options of ``settings``.

    Raises ValueError, in one line that begins with the student's name, for a class or option that is not known, one
    that takes other outputs than the network's or another noise schedule, and for times that it does not take.
    """
    own, scheduler, options = pipeline.scheduler, pipeline.scheduler, settings.scheduler_options
    try:
        named = settings.scheduler or {}
        kind = scheduler_class(str(named["class"])) if "class" in named else type(own)
        fault = scheduler_fault(scheduler_signature(kind.__name__), options, settings.times, eta=settings.eta)
        if fault:
            raise ValueError(fault)
        if settings.scheduler:
            if "clip_sample" in inspect.signature(kind).parameters and "clip_sample" not in own.config:
                options = {"clip_sample": False} | options  # some clip x0 to [-1, 1] unless set: latents are wider
            scheduler = kind.from_config(own.config, **options)
            _check_same_process(own, scheduler, options)
        first = first_scheduler_timestep(pipeline, scheduler, settings)
    except Exception as error:  # schedulers raise many kinds for values that they do not know
        raise ValueError(f"{settings.name}: scheduler: {one_line(error)}") from error
    _warn_of_first(scheduler, settings, first)
    return scheduler


def _check_same_process(own: "SchedulerMixin", new: "SchedulerMixin", options: dict) -> None:
    """Raise ValueError where a class drops what the folder says its network predicts, or its noise schedule."""
    (before, predicts), (after, takes) = pipeline_schedule(own), pipeline_schedule(new)
    kind = type(new)
    if predicts != takes and "prediction_type" not in options:
        said = own.config.get("prediction_type", "flow_prediction")
        raise ValueError(
            f"the network predicts {said}, {kind.__name__} would take it for {takes}; "
            f"set scheduler: {{prediction_type: {said}}}, or name another class"
        )
    if BETAS & options.keys() or not (isinstance(before, TableSchedule) and isinstance(after, TableSchedule)):
        return
    if not torch.allclose(before.alphas_cumprod, after.alphas_cumprod, rtol=1e-3, atol=1e-6):
        lost = ", ".join(sorted(BETAS & own.config.keys() - inspect.signature(kind).parameters.keys()))
        raise ValueError(f"{kind.__name__} drops {lost or 'the noise schedule'} of the folder's; name another class")


def first_scheduler_timestep(
    pipeline: "DiffusionPipeline", scheduler: "SchedulerMixin", settings: ExternalStudent
) -> float:
    """The timestep that the network is asked at first; every step is tried on outputs of 0.

    Raises ValueError where that gives no finite numbers, and what the scheduler raises for times or values that it does
    not take.
    """
    noise = torch.ones(1, 4, 8, 8)
    times = sampler_times(pipeline, scheduler, noise.shape[-1], num_steps=settings.num_steps, given=settings.times)
    scheduler = fresh_sampler_scheduler(scheduler, times)

    def predict(timestep: Tensor, x: Tensor) -> Tensor:
        return torch.zeros_like(x)

    *_, (_, x0) = sampler_scheduler_steps(scheduler, noise, predict, eta=settings.eta, seed=settings.seed)
    if not x0.isfinite().all():
        raise ValueError(f"{type(scheduler).__name__} gives no finite numbers with these options; change them")
    return float(scheduler.timesteps[0])


def _warn_of_first(scheduler: "SchedulerMixin", settings: ExternalStudent, first: float) -> None:
    """Warn where pure noise is shown at a timestep of little noise, as diffusers' leading spacing has it."""
    whole = scheduler.config.get("num_train_timesteps", 1000)
    if first >= PURE * whole or settings.timesteps or settings.sigmas:
        return
    ways = []
    if "timestep_spacing" in inspect.signature(type(scheduler)).parameters:
        ways.append("scheduler: {timestep_spacing: trailing}")
    if settings.num_steps == 1 and "timesteps" in inspect.signature(type(scheduler).set_timesteps).parameters:
        ways.append(f"timesteps: [{whole - 1}]")
    mended = f"; if it was trained otherwise, set {' or '.join(ways)}" if ways else ""
    warnings.warn(
        f"{settings.name}: {type(scheduler).__name__} asks its network at timestep {first:g} of {whole} on pure noise"
        f"{mended}",
        stacklevel=3,
    )
