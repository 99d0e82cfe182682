"""Students of a recipe: where they start, how all seeds of a variant are trained, and how they are saved."""

import copy
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from dvclive import Live

from gad.config import StudentConfig
from gad.config.variants import VARIANTS, trained_as
from gad.data.noise_pairs import NoisePairs
from gad.data.text_embeddings import encode_pair_prompts
from gad.diffusion.denoiser import NetworkDenoiser
from gad.distillation.objective import build_objective
from gad.distillation.training_log import append_row, join_tables, show_row
from gad.distillation.training_loop import TrainState, train
from gad.distillation.training_record import NO_RESULT, write_trained
from gad.models.mlp import PointNetwork, build_point_network, point_denoiser, save_point_network
from gad.models.model import Model
from gad.models.pipelines import family_of, network_of, plain_scheduler, save_pipeline
from gad.models.students import finished_seeds, seed_dir
from gad.runtime.distributed import lock_together, make_accelerator
from gad.runtime.fingerprint import key_of

LOG = "training.csv"


def start_student(teacher: Model, config: StudentConfig, *, seed: int) -> NetworkDenoiser:
    """A student at initialisation: a copy of the teacher's network, or a fresh perceptron for the exact teacher."""
    if not isinstance(teacher.denoiser, NetworkDenoiser):
        return point_denoiser(build_point_network(config.hidden, config.layers, seed=seed))
    return teacher.denoiser.copied()


def save_student(student: NetworkDenoiser, teacher: Model, folder: Path) -> None:
    """A folder that :func:`gad.models.model.load_model` reads; a stock diffusers pipeline for text-to-image.

    Its scheduler walks our times, whatever the teacher came with.
    """
    if teacher.pipeline is None:
        assert isinstance(student.network, PointNetwork)
        return save_point_network(student.network, folder)
    name = family_of(teacher.pipeline).network
    original = {name: network_of(teacher.pipeline), "scheduler": teacher.pipeline.scheduler}
    teacher.pipeline.register_modules(**{name: student.network, "scheduler": plain_scheduler(teacher.pipeline)})
    try:
        save_pipeline(teacher.pipeline, folder)
    finally:
        teacher.pipeline.register_modules(**original)


def steps_of(config: StudentConfig, variant: str) -> int:
    """Training steps of a variant: the recipe's, or ``equal_time_factor`` times as many for a longer baseline."""
    return round(config.num_steps * (config.equal_time_factor if VARIANTS[variant].longer else 1))


def own_copy(teacher: Model, config: StudentConfig) -> Model:
    """The teacher itself, or where its weights will be cast or parted a copy: students start from all their bits."""
    if config.dtype == "float32" and not config.shard or not isinstance(teacher.denoiser, NetworkDenoiser):
        return teacher
    return replace(teacher, denoiser=copy.deepcopy(teacher.denoiser))


def train_seeds(
    teacher: Model,
    pairs: NoisePairs,
    config: StudentConfig,
    *,
    variant: str,
    folder: Path,
    live: Path,
    cache: Path | None = None,
) -> Iterator[tuple[int, TrainState]]:
    """Train every seed that is not finished and yield (seed, state) as training goes on.

    A seed's student stands in ``folder/seed_<k>``; ``folder/training.csv`` logs all seeds. Work of other settings or
    code and of seeds that the recipe no longer names is thrown away. Encoded prompts are kept in ``cache``. Of several
    processes the first one writes.
    """
    accelerator = make_accelerator(config.device)
    first = accelerator.is_main_process
    config.parts_of(accelerator.num_processes)  # before prompts are encoded for an hour
    recorded, config = config, config.model_copy(update={"num_steps": steps_of(config, variant)})
    settings = config.model_dump(exclude=NO_RESULT)
    cache_key = key_of("student", settings, variant, pairs.fingerprint)
    lock_together(folder, cache_key)
    if first:
        write_trained(folder, recorded, pairs.config)
    prompts = encode_pair_prompts(teacher, pairs, cache=cache, dtype=config.dtype, device=config.device)
    seeds, kind = config.seeds_of(variant), trained_as(variant, config.weight_of(variant))
    for seed in seeds:
        if seed_dir(folder, seed).exists():
            continue
        work = folder / f"unfinished_{seed}"
        work.mkdir(exist_ok=True)
        student = start_student(teacher, config, seed=seed)
        objective = build_objective(own_copy(teacher, config), student, pairs, config, variant=kind, seed=seed)
        run = train(student, objective, pairs, prompts, config, variant=kind, seed=seed, folder=work)
        if not first:
            yield from ((seed, state) for state in run)
            accelerator.wait_for_everyone()
            continue
        # the log on disk is for watching; what lasts is training.csv
        with Live(str(live / f"seed_{seed}"), report=None, save_dvc_exp=False, dvcyaml=None) as log:
            shown = 0
            for state in run:
                rows = append_row(work / LOG, seed, state)
                for row in rows[shown:]:  # of a run that goes on after a kill the earlier ones, too
                    show_row(log, row)
                shown = len(rows)
                yield seed, state
        shutil.copy(work / LOG, folder / f"log_{seed}.csv")
        save_student(student, teacher, seed_dir(folder, seed))
        shutil.rmtree(work)
        accelerator.wait_for_everyone()
    if first:
        join_tables([folder / f"log_{seed}.csv" for seed in seeds], folder / LOG)
        _keep_only(folder, seeds)


def _keep_only(folder: Path, seeds: list[int]) -> None:
    """Remove the students and logs of other seeds, and what a kill between saving and cleaning up left."""
    for seed in set(finished_seeds(folder)) - set(seeds):
        shutil.rmtree(seed_dir(folder, seed))
        (folder / f"log_{seed}.csv").unlink(missing_ok=True)
    for work in folder.glob("unfinished_*"):
        shutil.rmtree(work)
