"""Where students start after regression on the stored pairs: made once for each seed, shared by all variants of it.

A start lies in ``data/<recipe>/live/start/<key>``, which is no output of a stage: whichever stage comes first makes it,
those that run beside it wait, and without it any of them makes the same bits again.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

from gad.config import StudentConfig
from gad.data.noise_pairs import NoisePairs
from gad.diffusion.conditioning import Conditioning
from gad.diffusion.denoiser import NetworkDenoiser
from gad.distillation.learning_weights import learning_weights
from gad.distillation.pair_terms import Alignment
from gad.distillation.regression import Matching
from gad.distillation.targets import ComparedOutput
from gad.distillation.training_log import log_training_states
from gad.distillation.training_loop import train
from gad.models.adapter import copied_but_for_base
from gad.runtime.distributed import make_accelerator
from gad.runtime.files import file_lock, read_tensors, write_tensors
from gad.runtime.fingerprint import stage_fingerprint

NETWORK, LOG = "network.safetensors", "training.csv"
# settings of a student that decide its start beside the pairs; others may change without it
DECISIVE = {"start_steps", "start_lr", "batch_size", "lr", "warmup_steps", "loss", "ema_decay", "max_grad_norm"}
DECISIVE |= {"target", "dtype", "optimizer", "compile", "gradient_checkpointing", "channels_last", "hidden", "layers"}
DECISIVE |= {"log_every", "lora"}


def regression_start_config(config: StudentConfig) -> StudentConfig:
    """The settings of the regression: those of the student, on its own steps and learning rate, without any term."""
    names = DECISIVE | {"device", "accumulate", "shard", "checkpoint_every"}
    kept = config.model_dump(include=names - {"start_steps", "start_lr"})
    kept |= {"num_steps": config.start_steps, "lr": config.start_lr or config.lr, "gad_weight": 0.0, "seeds": [0]}
    if config.target == "end_to_end":  # a trajectory of states that each lead to the next ends where the teacher's ends
        kept["target"] = "next_state"
    return StudentConfig(**kept)


def regression_start_key(config: StudentConfig, pairs: NoisePairs) -> str:
    """The cache key of the starts of all seeds."""
    return stage_fingerprint("student", config.model_dump(include=DECISIVE), "start", pairs.fingerprint)


@dataclass(frozen=True)
class RegressionStart:
    """The regression that all variants of a recipe begin with; ``folder`` holds a folder of each seed's start."""

    pairs: NoisePairs
    prompts: Conditioning | None
    config: StudentConfig
    folder: Path
    live: Path

    def apply(self, student: NetworkDenoiser, seed: int) -> Path:
        """Give ``student``, a fresh one of that seed, the weights after regression; return the log of their training.

        They are read where they have been made, by whichever process, and made else.
        """
        made = self.folder / regression_start_key(self.config, self.pairs) / f"seed_{seed}"
        accelerator = make_accelerator(self.config.device)
        made.mkdir(parents=True, exist_ok=True)
        with file_lock(made / "lock", take=accelerator.is_main_process):
            accelerator.wait_for_everyone()
            if not (made / NETWORK).exists():
                self._make(copied_but_for_base(student), seed, made, writes=accelerator.is_main_process)
            accelerator.wait_for_everyone()
        learning_weights(student.network).load_state_dict(read_tensors(made / NETWORK))
        return made / LOG

    def _make(self, student: NetworkDenoiser, seed: int, made: Path, *, writes: bool) -> None:
        """Train by regression, from the last checkpoint of a killed run, and write weights and log."""
        config = regression_start_config(self.config)
        compared = ComparedOutput(config.target, self.pairs.config.student_steps)
        objective = Matching(Alignment(self.pairs.jvp_power(), config.loss), 0.0, compared=compared)
        work = made / "unfinished"
        work.mkdir(exist_ok=True)
        states = train(student, objective, self.pairs, self.prompts, config, variant="baseline", seed=seed, folder=work)
        if writes:
            live = self.live / f"start_{seed}"
            states = log_training_states(states, seed, made / LOG, live, tracker=self.config.tracker)
        for _ in states:
            pass
        if writes:
            write_tensors(made / NETWORK, learning_weights(student.network).state_dict())
            shutil.rmtree(work)
