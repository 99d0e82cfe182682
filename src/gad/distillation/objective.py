"""From a recipe's student section to the objective that trains it."""

from torch import nn

from gad.config import StudentConfig
from gad.config.student_options import check_sampling_steps
from gad.config.variants import SCORE_FORMS, check_variant
from gad.data.noise_pairs import NoisePairs
from gad.diffusion.denoiser import NetworkDenoiser
from gad.diffusion.retimed_schedule import RetimedSchedule
from gad.distillation.discriminator import build_discriminator
from gad.distillation.fake_score import fake_score_of
from gad.distillation.ladd import Ladd
from gad.distillation.pair_terms import Alignment, Stored
from gad.distillation.regression import Matching
from gad.distillation.score_terms import ScoreForm
from gad.distillation.sid import Sid
from gad.distillation.targets import ComparedOutput
from gad.distillation.tdm import DistanceKind, Tdm
from gad.distillation.time_window import TimeWindow
from gad.distillation.trainable import Trainable
from gad.models.model import Model

Objective = Matching | Ladd | Tdm | Sid


def build_objective(
    teacher: Model, student: NetworkDenoiser, pairs: NoisePairs, config: StudentConfig, *, variant: str, seed: int
) -> Objective:
    """The objective of a variant; ``teacher`` is called only where the paradigm calls it while the student trains.

    The weights of new networks come from ``seed``. Raises ValueError for a variant that the paradigm cannot have, and
    for an interval that leaves GAD out of every step.
    """
    spec, power, weight = check_variant(variant, config.paradigm), pairs.jvp_power(), config.weight_of(variant)
    low, high = config.gad_interval
    time_window = TimeWindow(low, high, config.gad_fraction)
    if spec.weighted_term and spec.weighted_term not in SCORE_FORMS and not time_window.opens(pairs.times[:-1]).any():
        times = ", ".join(f"{time:g}" for time in pairs.times[:-1].tolist())
        raise ValueError(f"gad_interval {config.gad_interval} has no student timestep ({times}): GAD never acts")
    check_sampling_steps(config, [variant], pairs.config.student_steps)
    _check_own_times(student, config, pairs.config.student_steps)
    by_ratio = config.gradient_ratio is not None
    compared = ComparedOutput(config.target, pairs.config.student_steps, config.end_to_end_gradient)
    score_form, alignment = None, Alignment(power, config.loss, "gad")
    match spec.weighted_term:
        case "score" | "score_fixed" | "released" as form:
            score_form = ScoreForm(form, power, weight, time_window, by_ratio)
        case "gad" | "other_pair" | "diversity" | "random" | "random_bounded" as term:
            alignment = Alignment(power, config.loss, term)
    gad_weight = weight if spec.weighted_term and not score_form else 0.0
    if config.paradigm == "matching":
        return Matching(alignment, gad_weight, time_window, None, compared, by_ratio)
    anchor_weight = config.anchor_weight if spec.anchored else 0.0
    options = (compared, spec.first_step, by_ratio)
    stored = Stored(alignment, gad_weight, anchor_weight, time_window, config.gad_batch_stride, *options)
    if config.paradigm == "ladd":
        heads = build_discriminator(teacher.denoiser, teacher.latent_shape, teacher.condition([""]), seed=seed)
        return Ladd(teacher.denoiser, heads, pairs.config.student_steps, stored, config.regression_weight)
    guided, student_steps = teacher.guided(pairs.config.guidance_scale), pairs.config.student_steps
    parts = (
        guided,
        fake_score_of(guided, student, seed=seed),
        student_steps,
        stored,
        score_form,
        config.rollout == "shared",
    )
    if config.paradigm in ("tdm", "dmd2"):
        onward = config.paradigm == "tdm"
        distance: DistanceKind = "pseudo_huber" if onward and student_steps > 1 else "mse"
        return Tdm(*parts, onward=onward, kind=config.tdm_loss or distance)
    return Sid(*parts, alpha=config.sid_alpha)


def _check_own_times(student: NetworkDenoiser, config: StudentConfig, student_steps: int) -> None:
    """Raise ValueError for a student whose states have other noise levels than the teacher's stored ones."""
    if isinstance(student.schedule, RetimedSchedule) and student_steps > 1 and config.target != "end_to_end":
        own = ", ".join(f"{time:.3g}" for time in student.schedule.own)
        raise ValueError(f"the student has times of its own ({own}): set student.target: end_to_end, or its timesteps")


def networks_of_objective(student: NetworkDenoiser, objective: Trainable) -> list[nn.Module]:
    """The networks that a training step calls: the student's, the auxiliary and the teacher's, where there are such.

    The features of LADD's discriminator are read from the objective's own teacher.
    """
    auxiliary = [] if objective.auxiliary is None else [objective.auxiliary]
    return [student.network, *auxiliary, *(denoiser.network for denoiser in objective.networks().frozen)]
