"""The `sensitivity` stage: every student of a recipe against its teacher, at the same noises and directions.

The loop over batches of noises is outside, that over students inside: the teacher is asked once for each batch, and
nothing but a batch's derivatives is held.
"""

from collections.abc import Iterable, Iterator, Sequence

import pandas as pd
import torch
from torch import Tensor

from gad.config import Recipe, SensitivityConfig
from gad.noise import draw_noise
from gad.prompts import prompt_of
from gad.sample_ids import ANALYSIS
from gad.sensitivity.measure import (
    analysis_ids,
    analysis_noise,
    batches_of,
    compare,
    responses,
    summarise,
    whole_map,
)
from gad.sensitivity.trajectory import TIMES, states_at, trajectory_deviation
from gad.teachers.load import Model

NamedStudent = tuple[str, int, Model]
"""Variant, seed and model."""


def kinds_of(config: SensitivityConfig) -> dict[str, tuple[str, SensitivityConfig]]:
    """What is measured, by its name: the kind of direction, and how the response is taken along it.

    A derivative says what the smallest step does; where the teacher jumps between pictures that is not what a step of
    the size of ``finite_step`` does.
    """
    kinds = {kind: (kind, config) for kind in config.directions}
    if config.finite_step is not None:
        finite = config.model_copy(update={"method": "difference", "perturbation_scale": config.finite_step})
        kinds |= {f"{kind}, h = {config.finite_step:g}": (kind, finite) for kind in config.directions}
    return kinds


def drawn_kind(config: SensitivityConfig) -> str:
    """The last kind of direction that is drawn without asking the teacher."""
    return next((kind for kind in reversed(config.directions) if kind != "singular"), "isotropic")


def check_student(name: str, student: Model, teacher: Model) -> None:
    """Raise ValueError, in one line, for a student that cannot be given the teacher's noises."""
    if student.latent_shape != teacher.latent_shape:
        ours, theirs = ("x".join(map(str, model.latent_shape)) for model in (student, teacher))
        raise ValueError(f"student {name} has latents of {ours}, its teacher of {theirs}: they have no noise in common")


def check_finite(name: str, ids: Sequence[int], *answers: Tensor) -> None:
    """Raise ValueError, in one line, naming the first noise that a model answers with NaN or infinity."""
    for answer in answers:
        finite = answer.isfinite().movedim(-4, 0).flatten(1).all(1)
        if not finite.all():
            noise = ids[int((~finite).nonzero()[0])]
            raise ValueError(f"{name} answers noise {noise} with NaN or infinity; check its weights and dtype")


def measure_students(teacher: Model, students: Iterable[NamedStudent], settings: Recipe) -> Iterator[pd.DataFrame]:
    """Yield, per batch of noises, student and entry of :func:`kinds_of`, a row per noise and direction (Table 1).

    Results depend neither on ``batch_size`` nor on the order of the students. Raises ValueError, in one line, for a
    student of another latent shape and for answers that are not finite.
    """
    config, pairs, students = settings.sensitivity, settings.noise_pairs, list(students)
    guided, steps = teacher.guided(pairs.guidance_scale), {}
    for variant, seed, student in students:
        check_student(f"{variant} (seed {seed})", student, teacher)
    for ids in batches_of(analysis_ids(config), config.batch_size):
        prompts = prompt_of(ids, settings.noise_pairs.prompts)
        phi = whole_map(guided, teacher.condition(prompts), num_steps=pairs.teacher_steps)
        drawn = {kind: analysis_noise(teacher, config, kind, ids=ids, phi=phi)[1:] for kind in config.directions}
        references = {}
        for name, (kind, how) in kinds_of(config).items():
            inputs = (prompts, *drawn[kind], how)
            told = {"num_steps": pairs.teacher_steps, "steps": steps, "key": name}
            references[name] = (inputs, responses(teacher, guided, *inputs, **told))
            check_finite("the teacher", ids, *references[name][1])
        for variant, seed, student in students:
            for name, (inputs, reference) in references.items():
                told = {"num_steps": pairs.num_nodes, "steps": steps, "key": (variant, seed, name)}
                answer = responses(student, student.denoiser, *inputs, **told)
                check_finite(f"student {variant} (seed {seed})", ids, *answer)
                rows = compare(answer, reference).assign(variant=variant, seed=seed, directions=name)
                yield rows.assign(noise=rows["noise"] + ids.start - ANALYSIS)


def table_of(rows: pd.DataFrame) -> pd.DataFrame:
    """A row per variant, seed and kind of direction: Table 1, and the median map error."""
    groups = rows.groupby(["variant", "seed", "directions"], sort=False)
    return pd.DataFrame([dict(zip(groups.keys, key, strict=True)) | summarise(group) for key, group in groups])


@torch.no_grad()
def measure_trajectories(teacher: Model, students: Iterable[NamedStudent], settings: Recipe) -> Iterator[pd.DataFrame]:
    """Yield, per batch of noises and student, a row per noise and time of ``TIMES``: cumulative deviation (Table 4).

    Between its nodes a student is where :func:`gad.sensitivity.trajectory.states_at` says.
    """
    config, pairs, students = settings.sensitivity, settings.noise_pairs, list(students)
    guided, times = teacher.guided(pairs.guidance_scale), TIMES
    for ids in batches_of(analysis_ids(config), config.batch_size):
        noise, prompts = draw_noise(ids, teacher.latent_shape, seed=config.seed), prompt_of(ids, pairs.prompts)
        reference = states_at(guided, noise, teacher.condition(prompts), num_steps=pairs.teacher_steps, times=times)
        for variant, seed, student in students:
            check_student(f"{variant} (seed {seed})", student, teacher)
            own = student.condition(prompts)
            states = states_at(student.denoiser, noise, own, num_steps=pairs.num_nodes, times=times)
            deviation = trajectory_deviation(states, reference, start_shared=False).tolist()
            for t, values in zip(times, deviation, strict=True):
                numbers = range(ids.start - ANALYSIS, ids.stop - ANALYSIS)
                rows = {"variant": variant, "seed": seed, "t": t, "noise": numbers, "deviation": values}
                yield pd.DataFrame(rows)


def trajectory_table(rows: pd.DataFrame) -> pd.DataFrame:
    """A row per variant, seed and time: the mean of the deviations over the noises."""
    return rows.groupby(["variant", "seed", "t"], sort=False)["deviation"].mean().reset_index()


@torch.no_grad()
def response_along(
    teacher: Model, students: Iterable[NamedStudent], settings: Recipe, *, reach: float = 1.0, num_steps: int = 9
) -> tuple[list[float], dict[str, list[float]]]:
    """Steps h in [0, reach] and, per variant, the root mean square change of x0 along the first direction.

    Mean over the analysis noises (64 at most) and over the students' seeds.
    """
    config, pairs = settings.sensitivity, settings.noise_pairs
    ids, noise, directions = analysis_noise(teacher, config, drawn_kind(config), ids=analysis_ids(config)[:64])
    direction = directions[0]
    steps = torch.linspace(0, reach, num_steps).tolist()

    def curve(model: Model, denoise, count: int) -> list[float]:
        phi = whole_map(denoise, model.condition(prompt_of(ids, settings.noise_pairs.prompts)), num_steps=count)
        start = phi(noise)
        moved = [phi(noise + h * direction) - start for h in steps]
        return [change.square().flatten(1).mean(1).sqrt().mean().item() for change in moved]

    curves = {"teacher": [curve(teacher, teacher.guided(pairs.guidance_scale), pairs.teacher_steps)]}
    for variant, _, student in students:
        curves.setdefault(variant, []).append(curve(student, student.denoiser, pairs.num_nodes))
    return steps, {name: torch.tensor(rows).mean(0).tolist() for name, rows in curves.items()}
