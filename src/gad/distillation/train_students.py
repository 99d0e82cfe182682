"""Students of a recipe: where they start, how all seeds of a variant are trained, and how they are saved."""

import copy
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from gad.config import StudentConfig
from gad.config.variants import VARIANTS, effective_variant
from gad.data.noise_pairs import NoisePairs
from gad.data.text_embeddings import encode_pair_prompts
from gad.diffusion.conditioning import Conditioning
from gad.diffusion.denoiser import NetworkDenoiser
from gad.distillation.objective import build_objective
from gad.distillation.seed_workers import threads_per_seed, workers_for
from gad.distillation.training_log import join_log_tables, log_training_states
from gad.distillation.training_loop import TrainState, train
from gad.distillation.training_record import LOG, NO_RESULT, write_trained
from gad.models.mlp import PointNetwork, build_point_network, point_denoiser, save_point_network
from gad.models.model import Model
from gad.models.pipelines import pipeline_family, pipeline_network, save_pipeline, stock_scheduler
from gad.models.students import finished_seeds, seed_dir
from gad.runtime.distributed import lock_together, make_accelerator, rank_and_world_size
from gad.runtime.files import remove_folder
from gad.runtime.fingerprint import stage_cache_key
from gad.runtime.side_by_side import side_by_side


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
    name = pipeline_family(teacher.pipeline).network
    original = {name: pipeline_network(teacher.pipeline), "scheduler": teacher.pipeline.scheduler}
    teacher.pipeline.register_modules(**{name: student.network, "scheduler": stock_scheduler(teacher.pipeline)})
    try:
        save_pipeline(teacher.pipeline, folder)
    finally:
        teacher.pipeline.register_modules(**original)


def num_training_steps(config: StudentConfig, variant: str) -> int:
    """Training steps of a variant: the recipe's, or ``equal_time_factor`` times as many for a longer baseline."""
    return round(config.num_steps * (config.equal_time_factor if VARIANTS[variant].longer else 1))


def teacher_copy_for_training(teacher: Model, config: StudentConfig) -> Model:
    """The teacher itself, or where its weights will be cast or parted a copy: students start from all their bits."""
    if config.dtype == "float32" and not config.shard or not isinstance(teacher.denoiser, NetworkDenoiser):
        return teacher
    return replace(teacher, denoiser=copy.deepcopy(teacher.denoiser))


@dataclass(frozen=True)
class SeedTraining:
    """All that the seeds of a variant share: ``variant`` is trained as it stands, ``config`` has its own steps."""

    teacher: Model
    pairs: NoisePairs
    prompts: Conditioning | None
    config: StudentConfig
    variant: str
    folder: Path
    live: Path

    def __call__(self, seed: int) -> Iterator[TrainState]:
        """Train a seed and save its student; the same whether it is called here or in a process of its own."""
        accelerator = make_accelerator(self.config.device)
        work = self.folder / f"unfinished_{seed}"
        work.mkdir(exist_ok=True)
        student = start_student(self.teacher, self.config, seed=seed)
        teacher = teacher_copy_for_training(self.teacher, self.config)
        objective = build_objective(teacher, student, self.pairs, self.config, variant=self.variant, seed=seed)
        states = train(
            student, objective, self.pairs, self.prompts, self.config, variant=self.variant, seed=seed, folder=work
        )
        if accelerator.is_main_process:
            yield from log_training_states(states, seed, work / LOG, self.live / f"seed_{seed}")
            shutil.copy(work / LOG, self.folder / f"log_{seed}.csv")
            save_student(student, self.teacher, seed_dir(self.folder, seed))
            remove_folder(work)
        else:
            yield from states
        accelerator.wait_for_everyone()


def student_key(config: StudentConfig, variant: str, pairs: NoisePairs) -> str:
    """The cache key of a variant's students."""
    settings = config.model_copy(update={"num_steps": num_training_steps(config, variant)}).model_dump(
        exclude=NO_RESULT
    )
    return stage_cache_key("student", settings, variant, pairs.fingerprint)


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
    code and of seeds that the recipe no longer names is thrown away. ``cache`` holds encoded prompts. Where there is
    room seeds are trained side by side, to the same bits. Of several processes of a launcher the first one writes.
    """
    config.parts_of(make_accelerator(config.device).num_processes)  # before prompts are encoded for an hour
    trained = config.model_copy(update={"num_steps": num_training_steps(config, variant)})
    lock_together(folder, student_key(config, variant, pairs))
    first = rank_and_world_size()[0] == 0
    if first:
        write_trained(folder, config, pairs.config)
    prompts = encode_pair_prompts(teacher, pairs, cache=cache, dtype=config.dtype, device=config.device)
    kind = effective_variant(variant, config.weight_of(variant))
    training = SeedTraining(teacher, pairs, prompts, trained, kind, folder, live)
    yield from _train_left(training, [seed for seed in config.seeds_of(variant) if not seed_dir(folder, seed).exists()])
    if first:
        join_log_tables([folder / f"log_{seed}.csv" for seed in config.seeds_of(variant)], folder / LOG)
        _keep_only(folder, config.seeds_of(variant))


def _train_left(training: SeedTraining, seeds: list[int]) -> Iterator[tuple[int, TrainState]]:
    """Train those seeds, here or in other processes, with the same threads."""
    threads, workers = torch.get_num_threads(), workers_for(training.teacher, training.config, len(seeds))
    torch.set_num_threads(threads_per_seed(training.teacher))
    try:
        if workers > 1:
            job = training.folder / "unfinished_job" / "job.pt"
            yield from side_by_side(training, seeds, workers, job=job, name="seed")
        else:
            yield from ((seed, state) for seed in seeds for state in training(seed))
    finally:
        torch.set_num_threads(threads)


def _keep_only(folder: Path, seeds: list[int]) -> None:
    """Remove the students and logs of other seeds, and what a kill between saving and cleaning up left."""
    for seed in set(finished_seeds(folder)) - set(seeds):
        remove_folder(seed_dir(folder, seed))
        (folder / f"log_{seed}.csv").unlink(missing_ok=True)
    for work in folder.glob("unfinished_*"):
        remove_folder(work)
