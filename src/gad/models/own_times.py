"""Times of its own that a student was distilled for, and the stock scheduler that walks them."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from gad.diffusion.denoiser import NetworkDenoiser
from gad.diffusion.retimed_schedule import RetimedSchedule, process_schedule, schedule_at_own_times
from gad.diffusion.schedule import FlowSchedule, Schedule
from gad.models.pipeline_schedule import pipeline_stock_scheduler
from gad.runtime.files import read_json, write_json

if TYPE_CHECKING:  # imported where they are used at run time, since that takes seconds
    from diffusers import DiffusionPipeline, SchedulerMixin

FILE = "own_timesteps.json"  # in a student's folder, where they are not our sampler's


def own_timesteps(schedule: Schedule) -> list[float] | None:
    """The timesteps that a student's network is asked at in its own order; None at our sampler's times."""
    if not isinstance(schedule, RetimedSchedule):
        return None
    return schedule.schedule.timestep(torch.tensor(schedule.own, dtype=torch.float64)).double().tolist()


def with_own_timesteps(denoiser: NetworkDenoiser, timesteps: list[float]) -> None:
    """Have a denoiser's network be asked at those timesteps where our sampler of as many steps is at its own."""
    process = process_schedule(denoiser.schedule)
    times = process.time(torch.tensor(timesteps, dtype=torch.float64)).tolist()
    denoiser.schedule = schedule_at_own_times(process, tuple(times))


def save_own_timesteps(schedule: Schedule, folder: Path) -> None:
    """Write them into a student's folder; nothing at our sampler's times."""
    timesteps = own_timesteps(schedule)
    if timesteps is not None:
        write_json(folder / FILE, {"timesteps": timesteps}, digits=17)


def load_own_timesteps(denoiser: NetworkDenoiser, folder: Path) -> None:
    """Give a denoiser the times in its folder, if there are any. Raises ValueError, in one line, for a broken file."""
    if (folder / FILE).exists():
        with_own_timesteps(denoiser, [float(value) for value in read_json(folder / FILE)["timesteps"]])


def stock_scheduler_of_student(pipeline: "DiffusionPipeline", schedule: Schedule) -> "SchedulerMixin":
    """The stock scheduler that samples a student as we do: of first order, and one that takes times where it has own.

    DPM-Solver++ of order 1 is DDIM's step, and takes ``timesteps``; Euler's of flows takes ``sigmas``. One step ends on
    DDPM's x0, which diffusers' pipeline for PixArt asks for.
    """
    stock = pipeline_stock_scheduler(pipeline, process_schedule(schedule))
    if own_timesteps(schedule) is None or isinstance(process_schedule(schedule), FlowSchedule):
        return stock
    from diffusers import DDPMScheduler, DPMSolverMultistepScheduler  # here, since it takes seconds

    if isinstance(schedule, RetimedSchedule) and len(schedule.own) == 1:
        return DDPMScheduler.from_config(pipeline.scheduler.config, clip_sample=False)
    options = {"solver_order": 1, "algorithm_type": "dpmsolver++", "final_sigmas_type": "zero"}
    return DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config, **options)


def own_timestep_options(schedule: Schedule) -> dict[str, list]:
    """The arguments with which stock diffusers samples at a student's own times; none at our sampler's."""
    timesteps = own_timesteps(schedule)
    if timesteps is None:
        return {}
    if isinstance(schedule, RetimedSchedule) and isinstance(schedule.schedule, FlowSchedule):
        return {"sigmas": list(schedule.own)}  # the scheduler shifts them itself
    return {"timesteps": [round(timestep) for timestep in timesteps]}
