"""What a shared rollout and fused updates save of a training step of a tiny transformer.

    python benchmarks/rollout.py [--steps 30]

Four sampling steps, guidance, batch 32, one thread; needs nothing but this project. Seconds are those of the CPU, which
other work on the machine leaves alone.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))  # of this tree, whichever is installed

from gad.config import StudentConfig, load_recipe
from gad.data.emoji.autoencoder import build_vae
from gad.data.emoji.backbones import build_backbone
from gad.data.noise_pairs import NoisePairs
from gad.data.pair_generation import generate_noise_pairs
from gad.data.text_embeddings import encode_pair_prompts
from gad.distillation.objective import build_objective
from gad.distillation.training_loop import train
from gad.models.model import Model
from gad.models.pipelines import pipeline_denoiser
from gad.models.students import start_student
from gad.preflight.timing import Timed
from gad.runtime.cli import exit_with_status, positive_argument

WARM = 3  # steps before those that count
SETTINGS = {
    "separate": {},
    "shared": {"rollout": "shared"},
    "shared, fused": {"rollout": "shared", "optimizer": "adamw_fused"},
}


class CpuTimed(Timed):
    """Notes the process's own time at each step."""

    def begin_step(self, step: int) -> None:
        self.times.append(time.process_time())


def seconds_of(teacher: Model, pairs: NoisePairs, config: StudentConfig) -> float:
    """Mean CPU seconds of the steps after a few to warm up."""
    student = start_student(teacher, config, seed=0)
    objective = build_objective(teacher, student, pairs, config, variant="baseline", seed=0)
    timed, prompts = CpuTimed(objective, 1), encode_pair_prompts(teacher, pairs)
    with tempfile.TemporaryDirectory() as folder:
        list(train(student, timed, pairs, prompts, config, variant="baseline", seed=0, folder=Path(folder)))
    laps = [after - before for before, after in zip(timed.times[WARM:-1], timed.times[WARM + 1 :], strict=True)]
    return sum(laps) / len(laps)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=positive_argument, default=30)
    steps = parser.parse_args().steps
    torch.set_num_threads(1)
    pipeline = build_backbone("dit", build_vae().eval().requires_grad_(False), seed=0)
    shape = (4, 8, 8)  # a quarter of the emoji latents: 16 tokens
    teacher, settings = Model(pipeline_denoiser(pipeline), shape, pipeline), load_recipe("emoji_dit_tdm")
    changes = {"num_pairs": 32, "teacher_steps": 4, "shard_size": 32, "directions_per_noise": 1}
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        noise_pairs = settings.noise_pairs.model_copy(update=changes)
        list(generate_noise_pairs(Path(folder), teacher, "benchmark", noise_pairs))
        pairs = NoisePairs(Path(folder))
        for paradigm in ("tdm", "sid"):
            lengths = {"num_steps": WARM + steps + 1, "log_every": 10**6, "checkpoint_every": 10**6}
            plain = settings.student.model_dump() | lengths | {"paradigm": paradigm, "batch_size": 32, "accumulate": 1}
            row = {"paradigm": paradigm}
            for name, changed in SETTINGS.items():
                config = StudentConfig(**plain | changed)
                row[name] = f"{1e3 * seconds_of(teacher, pairs, config):.0f} ms"
                print(f"{paradigm}, {name}: {row[name]}", flush=True)
            rows.append(row)
    print(pd.DataFrame(rows).to_string(index=False))


if __name__ == "__main__":
    exit_with_status(main)
