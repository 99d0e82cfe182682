"""The `teacher` section."""

from typing import Literal

from pydantic import model_validator

from gad.config.prompts import Captions
from gad.config.section import Count, Positive, Section, Seed


class TeacherConfig(Section):
    """What is learned from: a dataset's exact denoiser, a small teacher trained here, or any diffusers pipeline."""

    dataset: Literal["swiss_roll", "emoji", "prompts"]
    backbone: Literal["exact", "unet", "dit", "flow"]
    pretrained: str | None = None  # a diffusers folder (from the project's root) or hub name: nothing is trained
    revision: str | None = None  # of a hub name: a commit's hash
    num_points: Count = 2000  # Swiss roll: points of the data set
    autoencoder: Literal["standard", "compact"] = "standard"  # emoji: 4x16x16 latents; compact: 12x8x8
    captions: Captions = "all"  # emoji: of the scenes that are learned from
    num_scenes: Count = 49152  # emoji: encoded scenes that are learned from
    num_steps: Count = 4000
    batch_size: Count = 64  # scenes
    lr: Positive = 1e-3
    seed: Seed = 0

    @model_validator(mode="after")
    def _dataset_has_backbone(self):
        if (self.dataset == "swiss_roll") != (self.backbone == "exact"):
            raise ValueError(f"dataset {self.dataset!r} has no backbone {self.backbone!r}")
        if self.dataset == "prompts" and self.pretrained is None:
            raise ValueError("dataset 'prompts' needs pretrained: a diffusers folder or hub name")
        return self
