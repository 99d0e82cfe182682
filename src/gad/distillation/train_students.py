"""Students of a recipe: how all seeds of a variant are trained."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from tqdm import tqdm

from gad.config import StudentConfig
from gad.config.variants import VARIANTS, effective_variant
from gad.data.noise_pairs import NoisePairs
from gad.data.text_embeddings import encode_pair_prompts
from gad.diffusion.conditioning import Conditioning
from gad.distillation.cache_keys import student_cache_key
from gad.distillation.objective import build_objective
from gad.distillation.record_student import SeedProgress
from gad.distillation.regression_start import RegressionStart
from gad.distillation.seed_workers import threads_per_seed, workers_for
from gad.distillation.tracker import check_tracker
from gad.distillation.trainable import teacher_copy_for_training
from gad.distillation.training_log import join_log_tables, log_training_states
from gad.distillation.training_loop import TrainState, num_training_steps, state_at_initialisation, train
from gad.distillation.training_record import LOG, write_training_record
from gad.distillation.validation_log import ValidationLog, join_validation_logs, remove_validation_log
from gad.metrics.validation import Validation, prepare_validation
from gad.models.model import Model
from gad.models.stage import Stage
from gad.models.students import finished_student_seeds, save_student, start_student, student_seed_dir
from gad.runtime.atomic import atomic_write_path, remove_folder
from gad.runtime.distributed import distributed_folder_lock, make_accelerator, rank_and_world_size
from gad.runtime.paths import DATA, stage_cache_dir, stage_dir
from gad.runtime.side_by_side import side_by_side

if TYPE_CHECKING:  # imported where they are used at run time, since that takes seconds
    import pandas as pd


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
    validation: Validation | None = None

    def __call__(self, seed: int) -> Iterator[TrainState]:
        """Train a seed and save its student; the same whether it is called here or in a process of its own."""
        accelerator = make_accelerator(self.config.device)
        work = self.folder / f"unfinished_{seed}"
        work.mkdir(exist_ok=True)
        teacher = teacher_copy_for_training(self.teacher, self.config)
        student = start_student(teacher, self.config, seed=seed, student_steps=self.pairs.config.student_steps)
        if self.config.start == "regression":
            start = RegressionStart(self.pairs, self.prompts, self.config, self.live.parent / "start", self.live)
            log = start.apply(student, seed)
            if accelerator.is_main_process:
                shutil.copy(log, self.folder / f"start_{seed}.csv")
        objective = build_objective(teacher, student, self.pairs, self.config, variant=self.variant, seed=seed)
        curves = None
        if self.validation is not None and accelerator.is_main_process:
            curves = ValidationLog(self.validation, self.teacher, seed, work)
        given = (student, objective, self.pairs, self.prompts, self.config)
        if VARIANTS[self.variant].untrained:
            states = iter([state_at_initialisation(*given, validate=curves)])
        else:
            states = train(*given, variant=self.variant, seed=seed, folder=work, validate=curves)
        if accelerator.is_main_process:
            live, show = self.live / f"seed_{seed}", None if curves is None else curves.show
            yield from log_training_states(states, seed, work / LOG, live, tracker=self.config.tracker, show=show)
            with atomic_write_path(self.folder / f"log_{seed}.csv") as partial:
                shutil.copy(work / LOG, partial)
            if curves is not None:
                curves.keep(self.folder)
            save_student(student, self.teacher, student_seed_dir(self.folder, seed))
            remove_folder(work)
        else:
            yield from states
        accelerator.wait_for_everyone()


def train_student_seeds(
    teacher: Model,
    pairs: NoisePairs,
    config: StudentConfig,
    *,
    variant: str,
    folder: Path,
    live: Path,
    cache: Path | None = None,
    validation_cache: Path | None = None,
) -> Iterator[tuple[int, TrainState]]:
    """Train every seed that is not finished and yield (seed, state) as training goes on.

    A seed's student stands in ``folder/seed_<k>``; ``folder/training.csv`` logs all seeds, ``folder/validation.csv``
    holds their held-out curves where ``config.validation`` asks for them. Work of other settings or code and of seeds
    that the recipe no longer names is thrown away. ``cache`` holds encoded prompts, ``validation_cache`` what the
    teacher makes of the validation noises. Where there is room seeds are trained side by side, to the same bits. Of
    several processes of a launcher the first one writes.
    """
    check_tracker(config.tracker)
    config.parts_of(make_accelerator(config.device).num_processes)  # before prompts are encoded for an hour
    trained = config.model_copy(update={"num_steps": num_training_steps(config, variant)})
    distributed_folder_lock(folder, student_cache_key(config, variant, pairs))
    first = rank_and_world_size()[0] == 0
    if first:
        write_training_record(folder, config, pairs.config)
    prompts = encode_pair_prompts(teacher, pairs, cache=cache, dtype=config.dtype, device=config.device)
    kind = effective_variant(variant, config.weight_of(variant))
    left = [seed for seed in config.seeds_of(variant) if not student_seed_dir(folder, seed).exists()]
    validation = None
    if config.validation is not None and first and left:
        made_for = (teacher, pairs.config, pairs.fingerprint, config.validation)
        validation = prepare_validation(*made_for, device=config.device, folder=validation_cache)
    yield from _train_left(SeedTraining(teacher, pairs, prompts, trained, kind, folder, live, validation), left)
    if first:
        join_log_tables([folder / f"log_{seed}.csv" for seed in config.seeds_of(variant)], folder / LOG)
        if config.validation is not None:
            join_validation_logs(folder, config.seeds_of(variant))
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
    for seed in set(finished_student_seeds(folder)) - set(seeds):
        remove_folder(student_seed_dir(folder, seed))
        for name in ("log", "start"):
            (folder / f"{name}_{seed}.csv").unlink(missing_ok=True)
        remove_validation_log(folder, seed)
    for work in folder.glob("unfinished_*"):
        remove_folder(work)


def train_variant(stage: Stage, pairs: NoisePairs, config: StudentConfig, variant: str) -> "pd.DataFrame":
    """Train every seed of a variant that is not finished; returns the log of all, a row per seed and logged step."""
    import pandas as pd  # here, since it takes seconds

    recipe, folder = stage.recipe, stage.folder / variant
    num_steps, seeds = num_training_steps(config, variant), config.seeds_of(variant)
    options = {"folder": folder, "live": DATA / recipe / "live" / variant, "cache": stage_dir(recipe, "prompt_embeds")}
    options["validation_cache"] = stage_cache_dir(recipe, "validation")  # of the recipe: all of its variants read it
    with tqdm(total=len(seeds) * num_steps, desc=f"{recipe} {variant}", mininterval=2) as bar:
        progress = SeedProgress(
            bar, num_steps, config.log_every, lambda: set(seeds) & set(finished_student_seeds(folder))
        )
        for seed, state in train_student_seeds(stage.teacher, pairs, config, variant=variant, **options):
            progress.report(seed, state.step)
            bar.set_postfix({name: f"{value:.3g}" for name, value in state.terms.items()}, refresh=False)
    return pd.read_csv(folder / LOG).assign(variant=variant)
