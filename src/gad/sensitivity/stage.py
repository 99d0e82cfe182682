"""The `sensitivity` stage: every student of a recipe against its teacher, at the same noises and directions."""

from collections.abc import Iterable, Iterator

import pandas as pd
import torch

from gad.config import Recipe, SensitivityConfig
from gad.prompts import prompt_of
from gad.sampling import node_times
from gad.sensitivity.measure import analysis_noise, compare, deviation, responses, summarise, whole_map
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


def measure_students(teacher: Model, students: Iterable[NamedStudent], settings: Recipe) -> Iterator[pd.DataFrame]:
    """Yield, per student and entry of :func:`kinds_of`, a row per noise and direction with the metrics of Table 1."""
    nodes, guided = settings.noise_pairs.num_nodes, teacher.guided(settings.noise_pairs.guidance_scale)
    references = {}
    for name, (kind, config) in kinds_of(settings.sensitivity).items():
        ids, noise, directions = analysis_noise(teacher, config, kind)
        inputs = (prompt_of(ids, settings.noise_pairs.prompts), noise, directions, config)
        answer = responses(teacher, guided, *inputs, num_steps=settings.noise_pairs.teacher_steps)
        references[name] = (inputs, answer)
    for variant, seed, student in students:
        for name, (inputs, reference) in references.items():
            rows = compare(responses(student, student.denoiser, *inputs, num_steps=nodes), reference)
            yield rows.assign(variant=variant, seed=seed, directions=name)


def table_of(rows: pd.DataFrame) -> pd.DataFrame:
    """A row per variant, seed and kind of direction: Table 1, and the median map error."""
    groups = rows.groupby(["variant", "seed", "directions"], sort=False)
    return pd.DataFrame([dict(zip(groups.keys, key, strict=True)) | summarise(group) for key, group in groups])


@torch.no_grad()
def trajectory_table(teacher: Model, students: Iterable[NamedStudent], settings: Recipe) -> pd.DataFrame:
    """Cumulative trajectory deviation at the student's nodes (Table 4), a row per variant, seed and node."""
    config, pairs = settings.sensitivity, settings.noise_pairs
    ids, noise, _ = analysis_noise(teacher, config, config.directions[0])
    guided = teacher.guided(pairs.guidance_scale)
    times = node_times(pairs.num_nodes).tolist()[1:]
    rows = []
    for variant, seed, student in students:
        prompts = teacher.condition(prompt_of(ids, settings.noise_pairs.prompts))
        steps = {"num_nodes": pairs.num_nodes, "teacher_steps": pairs.teacher_steps}
        values = deviation(student.denoiser, guided, noise, prompts, **steps)
        for t, value in zip(times, values, strict=True):
            rows.append({"variant": variant, "seed": seed, "t": t, "deviation": value})
    return pd.DataFrame(rows)


@torch.no_grad()
def response_along(
    teacher: Model, students: Iterable[NamedStudent], settings: Recipe, *, reach: float = 1.0, num_steps: int = 9
) -> tuple[list[float], dict[str, list[float]]]:
    """Steps h in [0, reach] and, per variant, the root mean square change of x0 along the first direction.

    Mean over the analysis noises (64 at most) and over the students' seeds.
    """
    config, pairs = settings.sensitivity, settings.noise_pairs
    ids, noise, directions = analysis_noise(teacher, config, config.directions[-1])
    noise, direction, ids = noise[:64], directions[0][:64], ids[:64]
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
