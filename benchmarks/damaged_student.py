"""Makes the student that the recipe repair_compact repairs: one step, and a response that was damaged on purpose.

    python benchmarks/damaged_student.py                (after its stage noise_pairs; minutes of one core)

First regression to the teacher's endpoints, from its network: a one-step student that responds as well as it can. Then
regression to blends (1 - w) own + w other of a noise's endpoint and that of another noise under the same prompt. The
other one is independent, so the student unlearns a share w of the teacher's response for a mean image, as a collapsed
student has it. What both measure on the recipe's validation noises: data/repair_compact/damaged.csv.
"""

import argparse
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from gad.config import Recipe, load_recipe
from gad.data.noise_pairs import NoisePairs
from gad.data.text_embeddings import encode_pair_prompts
from gad.diffusion.conditioning import Conditioning
from gad.diffusion.denoiser import NetworkDenoiser
from gad.distillation.losses import matching_loss
from gad.distillation.trainable import Networks
from gad.distillation.training_loop import train
from gad.metrics.convergence import curve_metrics
from gad.metrics.validation import prepare_validation
from gad.models.model import load_model
from gad.models.students import save_student
from gad.runtime.atomic import remove_folder
from gad.runtime.cli import exit_with_status, positive_argument
from gad.runtime.files import write_table
from gad.runtime.paths import project_path, stage_cache_dir, stage_dir

RECIPE = "repair_compact"


@dataclass(frozen=True)
class Blended:
    """An objective of regression to blended endpoints; ``share`` is that of the other noise's, 0 for none. Of pairs
    with one direction a noise: members are 0, its partner, and the independent noise of the same prompt."""

    pairs: NoisePairs
    share: float
    auxiliary: None = None

    def networks(self) -> Networks:
        """None: endpoints are stored."""
        return Networks()

    def to(self, device) -> "Blended":
        return self

    def terms(self, student, batch, generator) -> dict[str, Tensor]:
        """The regression's loss ``[B]`` and its mean. Unpaired batches hold a noise or its independent one."""
        ends = [self.pairs.trajectories(batch.ids, torch.full_like(batch.ids, member))[:, -1] for member in (0, 2)]
        other = sum(ends) - batch.endpoint
        target = batch.endpoint + self.share * (other - batch.endpoint)
        loss = matching_loss(student(batch.noise, batch.t, batch.conditioning), target)
        return {"matching": loss, "total": loss.mean()}


def regressed(
    student: NetworkDenoiser, prompts: Conditioning, pairs: NoisePairs, settings: Recipe, *, share: float, steps: int
) -> None:
    """Train ``student`` so many steps on blends with that share, in place, from the beginning."""
    changes = {"start": "teacher", "num_steps": steps, "lr": 1e-3, "gradient_ratio": None, "start_student": None}
    config = settings.student.model_copy(update=changes | {"ema_decay": 0.95, "validation": None})
    folder = stage_cache_dir(RECIPE, f"regressed_{steps}_{share}")
    remove_folder(folder)  # or it would go on from another student's checkpoint
    folder.mkdir(parents=True)
    objective = Blended(pairs, share)
    with tqdm(total=steps, desc=f"share {share:g} of another noise's endpoint", mininterval=2) as bar:
        for state in train(student, objective, pairs, prompts, config, variant="baseline", seed=0, folder=folder):
            bar.update(state.step - bar.n)
            bar.set_postfix({"loss": f"{state.terms['total']:.3g}", "gain": f"{state.monitored['monitor_gain']:.2f}"})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=positive_argument, default=2000, help="of regression to own endpoints")
    parser.add_argument("--damaging", type=positive_argument, default=300, help="steps of regression to blends")
    parser.add_argument("--share", type=float, default=0.7, help="w, of the other noise's endpoint in a blend")
    arguments = parser.parse_args()
    settings, teacher = load_recipe(RECIPE), load_model(stage_dir(RECIPE, "teacher"))
    pairs = NoisePairs(stage_dir(RECIPE, "noise_pairs"))
    prompts = encode_pair_prompts(teacher, pairs)
    validation = prepare_validation(teacher, pairs.config, pairs.fingerprint, settings.student.validation)
    student, target, rows = teacher.denoiser.copied(), project_path(settings.student.start_student.source), []
    for name, share, steps in (("undamaged", 0.0, arguments.steps), ("damaged", arguments.share, arguments.damaging)):
        regressed(student, prompts, pairs, settings, share=share, steps=steps)
        rows.append({"student": name} | validation.measure(student, teacher).row)
        print(f"{name}: " + ", ".join(f"{metric} {rows[-1][metric]:.3f}" for metric in curve_metrics(rows[-1])))
    save_student(student, teacher, target)
    write_table(target.with_name("damaged.csv"), pd.DataFrame(rows))


if __name__ == "__main__":
    torch.set_num_threads(1)
    exit_with_status(main)
