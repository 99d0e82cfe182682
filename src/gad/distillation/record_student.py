"""The student stage as its notebook runs it: all seeds of a variant are trained, shown and measured."""

from collections.abc import Callable, Iterable

import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from gad.config import StudentConfig
from gad.data.noise_pairs import NoisePairs
from gad.data.record_noise_pairs import captions_of_pairs, shown_pair_ids
from gad.diffusion.jvp import Response
from gad.diffusion.sampling import sample
from gad.distillation.batch import Batch
from gad.distillation.train_students import LOG, num_training_steps, train_seeds
from gad.models.model import Model, load_model
from gad.models.stage import Stage
from gad.models.students import finished_seeds, seed_dir
from gad.runtime.files import write_json
from gad.runtime.paths import DATA, metrics_file, stage_dir


def pair_response_rows(batch: Batch, student: Response, teacher: Response) -> pd.DataFrame:
    """A row per pair of a batch: its time and step, the size of both responses, their cosine, and the gap's size."""
    sizes = {"student": student.jvp, "teacher": teacher.jvp, "gap": student.jvp - teacher.jvp}
    rows = {"t": batch.t[: len(batch.pair_steps)], "h": batch.pair_steps}
    rows |= {name: jvp.square().flatten(1).mean(1).sqrt() for name, jvp in sizes.items()}
    rows["cosine"] = torch.cosine_similarity(student.jvp.flatten(1), teacher.jvp.flatten(1))
    return pd.DataFrame({name: values.tolist() for name, values in rows.items()})


class SeedProgress:
    """Steps of several seeds on one bar, whose reports come in any order. Its rate is of steps that are made now.

    ``finished`` tells the seeds that an earlier run has finished; it is asked at the first report, when what is not
    this training's work is gone.
    """

    def __init__(self, bar: tqdm, num_steps: int, log_every: int, finished: Callable[[], Iterable[int]]):
        self.bar, self.num_steps, self.log_every, self.finished = bar, num_steps, log_every, finished
        self.steps: dict[int, int] = {}  # by seed

    def report(self, seed: int, step: int) -> None:
        """Count a seed's steps up to ``step``; those before its first report come from a checkpoint."""
        if not self.steps:
            self.steps = {other: self.num_steps for other in self.finished() if other != seed}
            self._skip(sum(self.steps.values()))
        if seed not in self.steps:
            self.steps[seed] = max(0, step - self.log_every)
            self._skip(self.steps[seed])
        self.bar.update(max(0, step - self.steps[seed]))
        self.steps[seed] = max(step, self.steps[seed])

    def _skip(self, steps: int) -> None:
        """Show steps as done that an earlier run has made; tqdm's rate leaves out the initial ones."""
        self.bar.initial += steps
        self.bar.n += steps
        self.bar.last_print_n += steps


def train_variant(stage: Stage, pairs: NoisePairs, config: StudentConfig, variant: str) -> pd.DataFrame:
    """Train every seed of a variant that is not finished; returns the log of all, a row per seed and logged step."""
    recipe, folder = stage.recipe, stage.folder / variant
    num_steps, seeds = num_training_steps(config, variant), config.seeds_of(variant)
    options = {"folder": folder, "live": DATA / recipe / "live" / variant, "cache": stage_dir(recipe, "prompt_embeds")}
    with tqdm(total=len(seeds) * num_steps, desc=f"{recipe} {variant}", mininterval=2) as bar:
        progress = SeedProgress(bar, num_steps, config.log_every, lambda: set(seeds) & set(finished_seeds(folder)))
        for seed, state in train_seeds(stage.teacher, pairs, config, variant=variant, **options):
            progress.report(seed, state.step)
            bar.set_postfix({name: f"{value:.3g}" for name, value in state.terms.items()}, refresh=False)
    return pd.read_csv(folder / LOG).assign(variant=variant)


def first_seed_student(stage: Stage[StudentConfig], variant: str) -> Model:
    """The variant's student of the first seed."""
    seed = stage.section.seeds_of(variant)[0]
    return load_model(seed_dir(stage.folder / variant, seed), teacher=stage.teacher)


@torch.no_grad()
def student_outputs_at_same_noises(stage: Stage, pairs: NoisePairs, student: Model, name: str) -> dict[str, Tensor]:
    """What the teacher and the student, under its ``name``, make of the same noises."""
    teacher, ids = stage.teacher, shown_pair_ids(stage.teacher, pairs)
    states, prompts = pairs.trajectories(ids, 0), student.condition(captions_of_pairs(pairs, ids))
    ours = sample(student.denoiser, states[:, 0], prompts, num_steps=pairs.config.student_steps)
    return {"teacher": teacher.decode(states[:, -1]), name: student.decode(ours[-1])}


def record_student(stage: Stage, variant: str, log: pd.DataFrame) -> pd.DataFrame:
    """Write ``data/<recipe>/metrics/student-<variant>.json``, the last logged values as means over seeds; returns the
    last row of each seed."""
    last = log.groupby("seed").last().drop(columns="variant")
    metrics = {"final": last.mean().to_dict(), "seeds": list(last.index)}
    write_json(metrics_file(stage.recipe, f"student-{variant}"), metrics)
    return last
