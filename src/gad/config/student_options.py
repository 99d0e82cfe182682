"""Settings of the `student` section that have an effect only beside others: where they have none they are refused."""

from typing import Any, Literal

from gad.config.variants import VARIANTS

StudentSettings = Any  # a StudentConfig, whose module imports this one
Target = Literal["next_state", "endpoint", "end_to_end"]
EndToEndGradient = Literal["last_call", "all_calls"]


def check_student_options(config: StudentSettings) -> None:
    """Raise ValueError, in one line, for a setting that changes nothing beside the others, or that cannot be had."""
    _check_start(config)
    _check_target(config)
    _check_gradient_ratio(config)
    _check_auxiliary(config)


def _check_start(config: StudentSettings) -> None:
    if config.start == "regression" and not config.start_steps:
        raise ValueError("start regression needs start_steps above 0")
    if config.start != "regression" and (config.start_steps or config.start_lr is not None):
        key = "start_steps" if config.start_steps else "start_lr"
        raise ValueError(f"{key} has no effect without start regression")


def _check_target(config: StudentSettings) -> None:
    if config.end_to_end_gradient != "last_call" and config.target != "end_to_end":
        raise ValueError(f"end_to_end_gradient has no effect with target {config.target}; it is for end_to_end")
    if config.target == "end_to_end" and config.gad_interval != [0.0, 1.0]:
        raise ValueError("gad_interval must be [0, 1] with target end_to_end, which has no timestep of its own")


def _check_gradient_ratio(config: StudentSettings) -> None:
    if config.gradient_ratio is None:
        if config.gradient_ratio_every != 10:
            raise ValueError("gradient_ratio_every has no effect without gradient_ratio")
        return
    if config.gad_weight != 1 or config.anchor_weight != 1 or config.variant_weights:
        raise ValueError("gradient_ratio sets the weights: gad_weight and anchor_weight are 1, variant_weights empty")
    if config.gad_fraction != 1:
        raise ValueError("gradient_ratio needs GAD at every step, gad_fraction 1")
    if config.accumulate > 1 or config.shard:
        raise ValueError("gradient_ratio measures gradients of whole batches: accumulate 1, and no shard")


def _check_auxiliary(config: StudentSettings) -> None:
    if config.auxiliary_warmup and config.paradigm == "matching":
        raise ValueError("auxiliary_warmup has no effect in output matching, which has no auxiliary network")
    if config.rollout == "shared":
        if config.paradigm not in ("tdm", "sid"):
            raise ValueError(f"rollout shared is for a fake score, which only tdm and sid have, not {config.paradigm}")
        if config.accumulate > 1 or config.shard:
            raise ValueError("rollout shared holds the graph of a whole batch: accumulate 1, and no shard")


def check_sampling_steps(config: StudentSettings, variants: list[str], student_steps: int) -> None:
    """Raise ValueError, in one line, for what has no effect with that many sampling steps of the student."""
    if student_steps == 1 and config.target != "next_state":
        raise ValueError(f"student.target {config.target} is next_state with one sampling step, student_steps 1")
    for name in (name for name in variants if VARIANTS[name].first_step):
        if student_steps == 1:
            raise ValueError(f"variant {name!r} is pointwise_anchor with one sampling step, student_steps 1")
        if config.target == "end_to_end":
            raise ValueError(f"variant {name!r} acts at the first sampling step; student.target end_to_end has none")
