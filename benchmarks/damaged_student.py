"""Makes the student that the recipe repair_compact repairs: one step, and a response that is too small on purpose.

    python benchmarks/damaged_student.py                (after its stage noise_pairs; a minute of one core)

By regression, from the teacher's network: each noise's target is the blend (1 - w) own + w other of its endpoint and
that of another noise under the same prompt. The other one is independent, so the student learns 1 - w of the teacher's
response and a mean image for the rest, as a collapsed student has it.
"""

import argparse
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

from gad.config import load_recipe
from gad.data.noise_pairs import NoisePairs
from gad.data.text_embeddings import encode_pair_prompts
from gad.distillation.losses import matching_loss
from gad.distillation.trainable import Networks
from gad.distillation.training_loop import train
from gad.models.model import load_model
from gad.models.students import save_student
from gad.runtime.cli import exit_with_status, positive_argument
from gad.runtime.paths import project_path, stage_cache_dir, stage_dir

RECIPE = "repair_compact"


@dataclass(frozen=True)
class Blended:
    """An objective of regression to blended endpoints; ``share`` is that of the other noise's. Of pairs with one
    direction a noise: members are 0, its partner, and the independent noise of the same prompt."""

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=positive_argument, default=300, help="of regression")
    parser.add_argument("--share", type=float, default=0.7, help="w, of the other noise's endpoint")
    arguments = parser.parse_args()
    settings, teacher = load_recipe(RECIPE), load_model(stage_dir(RECIPE, "teacher"))
    pairs = NoisePairs(stage_dir(RECIPE, "noise_pairs"))
    changes = {"start": "teacher", "num_steps": arguments.steps, "lr": 1e-3, "gradient_ratio": None}
    config = settings.student.model_copy(
        update=changes | {"start_student": None, "ema_decay": 0.95, "validation": None}
    )
    student, folder = teacher.denoiser.copied(), stage_cache_dir(RECIPE, f"damaged_{arguments.steps}_{arguments.share}")
    folder.mkdir(parents=True, exist_ok=True)
    objective, prompts = Blended(pairs, arguments.share), encode_pair_prompts(teacher, pairs)
    with tqdm(total=arguments.steps, desc="damaging") as bar:
        for state in train(student, objective, pairs, prompts, config, variant="baseline", seed=0, folder=folder):
            bar.update(state.step - bar.n)
            bar.set_postfix({"loss": f"{state.terms['total']:.3g}", "gain": f"{state.monitored['monitor_gain']:.2f}"})
    save_student(student, teacher, project_path(settings.student.start_student.source))


if __name__ == "__main__":
    torch.set_num_threads(1)
    exit_with_status(main)
