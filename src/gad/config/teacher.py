"""The `teacher` section."""

from typing import Annotated, Literal

from pydantic import model_validator

from gad.config.effect import HUB_TEACHER, MADE_TEACHER, ON_IMAGES, ON_SWISS_ROLL, TRAINED_TEACHER, with_any
from gad.config.prompts import Captions
from gad.config.section import Count, Positive, Section, Seed


class TeacherConfig(Section):
    """What is learned from: a dataset's exact denoiser, a small teacher trained here, or any diffusers pipeline."""

    dataset: Literal["swiss_roll", "emoji", "prompts"]
    backbone: Literal["exact", "unet", "dit", "flow"]
    # a diffusers folder (from the project's root) or hub name: nothing is trained
    pretrained: Annotated[str | None, ON_IMAGES] = None
    revision: Annotated[str | None, HUB_TEACHER] = None  # of a hub name: a commit's hash
    # side of the teacher's latents, where its network's config does not say it (FLUX.1) or another one is wanted
    latent_side: Annotated[Count | None, with_any("pretrained")] = None
    num_points: Annotated[Count, ON_SWISS_ROLL] = 2000  # Swiss roll: points of the data set
    # emoji: 4x16x16 latents; compact: 12x8x8
    autoencoder: Annotated[Literal["standard", "compact"], TRAINED_TEACHER] = "standard"
    captions: Annotated[Captions, TRAINED_TEACHER] = "all"  # emoji: of the scenes that are learned from
    num_scenes: Annotated[Count, TRAINED_TEACHER] = 49152  # emoji: encoded scenes that are learned from
    num_steps: Annotated[Count, TRAINED_TEACHER] = 4000
    batch_size: Annotated[Count, TRAINED_TEACHER] = 64  # scenes
    lr: Annotated[Positive, TRAINED_TEACHER] = 1e-3
    seed: Annotated[Seed, MADE_TEACHER] = 0

    @model_validator(mode="after")
    def _dataset_has_backbone(self):
        if (self.dataset == "swiss_roll") != (self.backbone == "exact"):
            raise ValueError(f"dataset {self.dataset!r} has no backbone {self.backbone!r}")
        if self.dataset == "prompts" and self.pretrained is None:
            raise ValueError("dataset 'prompts' needs pretrained: a diffusers folder or hub name")
        return self
