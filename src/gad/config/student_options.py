"""Settings of the `student` section that cannot be had together. Those without effect: :mod:`gad.config.effect`."""

from typing import Any, Literal

from gad.config.variants import VARIANTS

StudentSettings = Any  # a StudentConfig, whose module imports this one
Target = Literal["next_state", "endpoint", "end_to_end"]
EndToEndGradient = Literal["last_call", "all_calls"]


def check_student_options(config: StudentSettings) -> None:
    """Raise ValueError, in one line, for a setting that cannot be had beside the others."""
    _check_start(config)
    _check_target(config)
    _check_gradient_ratio(config)
    _check_rollout(config)


def _check_start(config: StudentSettings) -> None:
    if config.start == "regression" and not config.start_steps:
        raise ValueError("start regression needs start_steps above 0")
    if config.start != "student":
        return
    if config.start_student is None:
        raise ValueError("start student needs start_student: the folder or hub name of a few-step student")
    if config.lora is not None and config.start_student.kind != "lora":
        raise ValueError("lora shares the teacher's weights: start_student has to be of kind lora, or drop lora")
    if config.lora is not None and config.start_student.lora_scale != 1:
        raise ValueError("lora goes on with the adapter of start_student as it is: lora_scale 1")


def _check_target(config: StudentSettings) -> None:
    if config.target == "end_to_end" and config.gad_interval != [0.0, 1.0]:
        raise ValueError("gad_interval must be [0, 1] with target end_to_end, which has no timestep of its own")


def _check_gradient_ratio(config: StudentSettings) -> None:
    if config.gradient_ratio is None:
        return
    if config.gad_weight != 1 or config.anchor_weight != 1 or config.variant_weights:
        raise ValueError("gradient_ratio sets the weights: gad_weight and anchor_weight are 1, variant_weights empty")
    if config.gad_fraction != 1:
        raise ValueError("gradient_ratio needs GAD at every step, gad_fraction 1")
    if config.accumulate > 1 or config.shard:
        raise ValueError("gradient_ratio measures gradients of whole batches: accumulate 1, and no shard")


def _check_rollout(config: StudentSettings) -> None:
    if config.rollout == "shared" and (config.accumulate > 1 or config.shard):
        raise ValueError("rollout shared holds the graph of a whole batch: accumulate 1, and no shard")


def check_sampling_steps(config: StudentSettings, variants: list[str], student_steps: int) -> None:
    """Raise ValueError, in one line, for what does not go with that many sampling steps of the student."""
    given = config.start_student and (config.start_student.timesteps or config.start_student.sigmas)
    if given and len(given) != student_steps:
        raise ValueError(f"student.start_student has {len(given)} times, noise_pairs.student_steps is {student_steps}")
    if student_steps == 1 and config.target != "next_state":
        raise ValueError(f"student.target {config.target} is next_state with one sampling step, student_steps 1")
    other = next((name for name in variants if VARIANTS[name].weighted_term == "other_pair"), None)
    if other is not None and config.batch_size < 4:
        raise ValueError(f"variant {other!r} needs another pair in a batch: batch_size 4 or more")
    for name in (name for name in variants if VARIANTS[name].first_step):
        if student_steps == 1:
            raise ValueError(f"variant {name!r} is pointwise_anchor with one sampling step, student_steps 1")
        if config.target == "end_to_end":
            raise ValueError(f"variant {name!r} acts at the first sampling step; student.target end_to_end has none")
