"""The noise schedule that a diffusers scheduler stands for, and the stock scheduler that visits our times."""

import math
from typing import TYPE_CHECKING

from gad.diffusion.schedule import FlowSchedule, Parameterisation, Schedule, TableSchedule

if TYPE_CHECKING:  # imported where they are used at run time, since that takes seconds
    from diffusers import DiffusionPipeline, SchedulerMixin

_PARAMETERISATIONS: dict[str, Parameterisation] = {
    "epsilon": "eps",
    "v_prediction": "v",
    "sample": "x0",
    "flow_prediction": "flow",
}


def pipeline_schedule(scheduler: "SchedulerMixin") -> tuple[Schedule, Parameterisation]:
    """The noise schedule and parameterisation that a diffusers scheduler stands for."""
    kind = scheduler.config.get("prediction_type", "flow_prediction")
    if "FlowMatch" in type(scheduler).__name__ or kind == "flow_prediction":
        return FlowSchedule(), "flow"
    return TableSchedule(scheduler.alphas_cumprod.float()), _PARAMETERISATIONS[kind]


def dynamic_shift(scheduler: "SchedulerMixin", image_tokens: int) -> float:
    """mu of a flow scheduler for an image of so many tokens: a line through two sizes, as stock pipelines compute it.

    Defaults are FLUX's.
    """
    config = scheduler.config
    low, high = config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096)
    least, most = config.get("base_shift", 0.5), config.get("max_shift", 1.15)
    return least + (most - least) * (image_tokens - low) / (high - low)


def flow_shift(scheduler: "SchedulerMixin", image_tokens: int) -> float:
    """The shift of a flow scheduler's times for an image of so many tokens; 1 leaves them even."""
    config = scheduler.config
    if not config.get("use_dynamic_shifting"):
        return float(config.get("shift", 1.0))
    mu = dynamic_shift(scheduler, image_tokens)
    return math.exp(mu) if config.get("time_shift_type", "exponential") == "exponential" else mu


def pipeline_stock_scheduler(pipeline: "DiffusionPipeline", schedule: Schedule | None = None) -> "SchedulerMixin":
    """The stock scheduler that visits our times: DDIM from the last time on, or for flows Euler with the shift of
    ``schedule``, by default none.

    A hub pipeline's own one may be of another order, shift its times, or call the network at t = 0 in a single step.
    """
    from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler  # here, since it takes seconds

    config = pipeline.scheduler.config
    if isinstance(pipeline_schedule(pipeline.scheduler)[0], FlowSchedule):
        shift = schedule.shift if isinstance(schedule, FlowSchedule) else 1.0
        return FlowMatchEulerDiscreteScheduler(num_train_timesteps=config.num_train_timesteps, shift=shift)
    options = {"timestep_spacing": "trailing", "clip_sample": False, "set_alpha_to_one": True}
    return DDIMScheduler.from_config(config, **options)
