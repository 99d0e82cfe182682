"""The `control` stage: the tasks of a recipe's world, for the teacher and every student at the same noises."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pandas as pd
from torch import Tensor

from gad.config import Recipe
from gad.control import diversity, noise_query
from gad.control.models import Generate, generator_of, load_judges
from gad.teachers.load import Model
from gad.worlds.swiss_roll import make_points

TARGET_SEED = 5  # the Swiss roll's target points


@dataclass(frozen=True)
class TaskResult:
    """One model's answer to one task: a table with a row per sample, and what it made."""

    task: str
    variant: str
    seed: int
    rows: pd.DataFrame
    outputs: Tensor


def _maps(teacher: Model, students: Iterable[tuple[str, int, Model]], settings: Recipe) -> Iterator:
    pairs, size = settings.noise_pairs, settings.control.batch_size
    options = {"num_steps": pairs.teacher_steps, "guidance_scale": pairs.guidance_scale, "batch_size": size}
    yield "teacher", 0, generator_of(teacher, **options)
    for variant, seed, student in students:
        yield variant, seed, generator_of(student, num_steps=pairs.num_nodes, batch_size=size)


def run_tasks(teacher: Model, students: Iterable[tuple[str, int, Model]], settings: Recipe) -> Iterator[TaskResult]:
    """Yield the result of each task for the teacher and each student."""
    tasks = _point_tasks if teacher.pipeline is None else _image_tasks
    yield from tasks(teacher, _maps(teacher, students, settings), settings)


def _library_maker(teacher: Model, settings: Recipe) -> Generate:
    """The teacher as NoiseQuery describes its noises: without a prompt."""
    steps, size = settings.noise_pairs.teacher_steps, settings.control.batch_size
    guidance = 1.0 if teacher.pipeline is None else 0.0
    return generator_of(teacher, num_steps=steps, guidance_scale=guidance, batch_size=size)


def _image_tasks(teacher: Model, maps, settings: Recipe) -> Iterator[TaskResult]:
    config, shape, judges = settings.control, teacher.latent_shape, load_judges()
    prompts = diversity.single_prompts(config.num_prompts, seed=noise_query.PROMPT_SEED)
    maker = _library_maker(teacher, settings)
    library = noise_query.build_image_library(maker, shape, judges, size=config.library_size, seed=config.seed)
    counts, teacher_images = {"seeds_per_prompt": config.seeds_per_prompt, "seed": config.seed}, None
    for variant, seed, generate in maps:
        rows, images = diversity.diversity_of_images(generate, prompts, shape, judges, **counts, teacher=teacher_images)
        teacher_images = images if teacher_images is None else teacher_images  # the teacher comes first
        yield TaskResult("diversity", variant, seed, rows, images[0])
        rows, images = noise_query.query_images(
            generate, library, judges, num_queries=config.num_queries, seed=config.seed
        )
        yield TaskResult("noise_query", variant, seed, rows, images)


def _point_tasks(teacher: Model, maps, settings: Recipe) -> Iterator[TaskResult]:
    config, shape = settings.control, teacher.latent_shape
    maker = _library_maker(teacher, settings)
    library = noise_query.build_point_library(maker, shape, size=config.library_size, seed=config.seed)
    targets = make_points(config.num_queries, TARGET_SEED)
    for variant, seed, generate in maps:
        samples = config.num_prompts * config.seeds_per_prompt
        rows, points = diversity.diversity_of_points(generate, shape, num_samples=samples, seed=config.seed)
        yield TaskResult("diversity", variant, seed, rows, points)
        rows, points = noise_query.query_points(generate, library, targets, seed=config.seed)
        yield TaskResult("noise_query", variant, seed, rows, points)


def table_of(results: Iterable[TaskResult]) -> pd.DataFrame:
    """A row per variant and seed: means over prompts of every score; query scores end in _random and _retrieved."""
    rows: dict[tuple[str, int], dict] = {}
    for result in results:
        row = rows.setdefault((result.variant, result.seed), {"variant": result.variant, "seed": result.seed})
        if result.task == "diversity":
            row |= result.rows.drop(columns=["prompt", "caption"], errors="ignore").mean().to_dict()
        else:
            scores = result.rows.drop(columns=["prompt", "caption"], errors="ignore").groupby("noise").mean()
            row |= {f"query_{name}_{noise}": scores.loc[noise, name] for noise in scores.index for name in scores}
    return pd.DataFrame(list(rows.values()))
