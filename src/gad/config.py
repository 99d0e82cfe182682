"""What a recipe may say: one checked, frozen model per stage.

Unknown keys, wrong types and impossible values are errors of one line.
"""

import difflib
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from gad.artifacts import RECIPES
from gad.response import check_step

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
Seed = Annotated[int, Field(ge=0)]


class RecipeError(ValueError):
    """A recipe that cannot be used; the message is one line that says what is wrong and where."""


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class TeacherConfig(Section):
    """What is learned from: a world's exact denoiser, a small teacher trained here, or any diffusers pipeline."""

    world: Literal["swiss_roll", "emoji"]
    backbone: Literal["exact", "unet", "dit", "flow"]
    pretrained: str | None = None  # a diffusers folder (from the project's root) or hub name: nothing is trained
    num_points: Count = 2000  # Swiss roll: points of the data set
    num_scenes: Count = 49152  # emoji: encoded scenes that are learned from
    num_steps: Count = 4000
    batch_size: Count = 64  # scenes
    lr: Positive = 1e-3
    seed: Seed = 0

    @model_validator(mode="after")
    def _world_has_backbone(self):
        if (self.world == "swiss_roll") != (self.backbone == "exact"):
            raise ValueError(f"world {self.world!r} has no backbone {self.backbone!r}")
        return self


class NoisePairsConfig(Section):
    """Noises, directions and the teacher's sampler."""

    num_pairs: Count  # sample ids
    directions_per_noise: Count = 1
    direction: Literal["isotropic", "low_frequency"]
    low_frequency_size: Count = 4  # side of the coarse grid that low-frequency directions are drawn on
    perturbation_scale: float  # h, in noise standard deviations
    smallest_scale: float | None = None  # h of a noise's last direction, those between on a geometric scale
    step: Literal["straight", "spherical"]
    teacher_steps: Count  # network evaluations of the teacher's ODE, twice that with guidance
    guidance_scale: Annotated[float, Field(ge=1)]  # 1 is plain conditional
    num_nodes: Count  # student steps
    batch_size: Count = 64  # samples at once; does not change results beyond rounding
    shard_size: Count = 128  # sample ids a file
    seed: Seed = 0

    @model_validator(mode="after")
    def _possible(self):
        if self.num_nodes > self.teacher_steps:
            raise ValueError(f"more nodes ({self.num_nodes}) than teacher steps ({self.teacher_steps})")
        if self.teacher_steps % self.num_nodes:
            raise ValueError(f"num_nodes {self.num_nodes} does not divide teacher_steps {self.teacher_steps}")
        for h in self.steps:
            check_step(h, torch.float32)
        return self

    @property
    def steps(self) -> list[float]:
        """h of each direction of a noise: all alike, or falling from ``perturbation_scale`` to ``smallest_scale``."""
        largest, copies = self.perturbation_scale, self.directions_per_noise
        if self.smallest_scale is None or copies == 1:
            return [largest] * copies
        return [largest * (self.smallest_scale / largest) ** (k / (copies - 1)) for k in range(copies)]


class StudentConfig(Section):
    """How students are trained: a paradigm, with the response form of GAD."""

    paradigm: Literal["matching", "ladd", "tdm", "sid"] = "matching"  # tdm with one node is DMD2
    num_steps: Count
    batch_size: Annotated[int, Field(ge=2, multiple_of=2)]  # samples; pairs count twice
    accumulate: Count = 1  # parts of a batch, one after another: less memory, the same gradient
    lr: Positive
    warmup_steps: Annotated[int, Field(ge=0)] = 50
    gad_weight: Annotated[float, Field(ge=0)]  # lambda on the relative mismatch of derivatives; 0 is the baseline
    h_schedule: Literal["any", "decreasing", "increasing"] = "any"  # which of a noise's steps are drawn as it goes on
    gad_interval: Annotated[list[float], Field(min_length=2, max_length=2)] = [0.0, 1.0]  # times t where GAD acts
    gad_fraction: Annotated[float, Field(gt=0, le=1)] = 1.0  # of the steps, at a weight raised by its inverse
    equal_time_factor: Annotated[float, Field(ge=1)] = 1.5  # steps of equal_time over the baseline's: gad's cost a step
    anchor_weight: Annotated[float, Field(ge=0)] = 1.0  # on regression to the stored pairs, in the anchored variants
    auxiliary_lr_ratio: Positive = 5.0  # learning rate of the fake score or discriminator over the student's
    auxiliary_updates: Count = 1  # for each update of the student
    regression_weight: Annotated[float, Field(ge=0)] = 0.0  # ladd: on regression to the endpoint of every noise
    sid_alpha: Positive = 1.0  # sid
    ema_decay: Annotated[float, Field(ge=0, lt=1)]
    max_grad_norm: Positive = 1.0
    loss: Literal["mse", "smooth_l1"] = "mse"
    checkpoint_every: Count = 100  # steps
    log_every: Count = 10  # steps
    seeds: Annotated[list[Seed], Field(min_length=1)]
    device: Literal["cpu", "cuda", "mps", "auto"] = "cpu"
    hidden: Count = 128  # width of the Swiss roll's perceptron
    layers: Count = 4  # hidden layers of the Swiss roll's perceptron

    @model_validator(mode="after")
    def _possible(self):
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds repeat: {self.seeds}")
        if self.batch_size % (2 * self.accumulate):
            raise ValueError(f"batch_size {self.batch_size} does not part into {self.accumulate} times whole pairs")
        low, high = self.gad_interval
        if not 0 <= low < high <= 1:
            raise ValueError(f"gad_interval must go up within 0 and 1, not {self.gad_interval}")
        return self


class SensitivityConfig(Section):
    """Noises and directions of the analysis."""

    num_noises: Count
    num_directions: Count
    directions: Annotated[list[Literal["isotropic", "low_frequency"]], Field(min_length=1)]
    method: Literal["exact", "difference"]  # forward mode, or Eq. (5)
    perturbation_scale: float = 1e-2  # h of the difference method, in noise standard deviations
    finite_step: float | None = None  # a large h at which differences are measured as well, as the noise pairs' own
    batch_size: Count = 32
    seed: Seed = 0

    @model_validator(mode="after")
    def _step_survives(self):
        for h in (self.perturbation_scale, self.finite_step or self.perturbation_scale):
            check_step(h, torch.float32)
        return self


class ControlConfig(Section):
    """Sizes of the control tasks."""

    num_prompts: Count  # prompts of the diversity task
    seeds_per_prompt: Annotated[int, Field(ge=2)]
    library_size: Count  # noises in the library of NoiseQuery
    num_queries: Count
    batch_size: Count = 64
    seed: Seed = 0


class Recipe(Section):
    """One complete run."""

    name: str
    teacher: TeacherConfig
    noise_pairs: NoisePairsConfig
    student: StudentConfig
    sensitivity: SensitivityConfig
    control: ControlConfig

    @model_validator(mode="after")
    def _world_allows(self):
        if self.teacher.world == "swiss_roll":
            if "low_frequency" in {self.noise_pairs.direction, *self.sensitivity.directions}:
                raise ValueError("low_frequency directions need images, the Swiss roll has points")
            if self.noise_pairs.guidance_scale != 1:
                raise ValueError("guidance_scale must be 1 on the Swiss roll, which has no prompts")
        return self


def recipe_names(folder: Path = RECIPES) -> list[str]:
    """Every recipe there is."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def load_recipe(name: str, folder: Path = RECIPES) -> Recipe:
    """The checked recipe of that name. Raises RecipeError, in one line, for anything that is wrong with it."""
    if name not in recipe_names(folder):
        raise RecipeError(f"unknown recipe {name!r}; there are {', '.join(recipe_names(folder))}")
    try:
        values = YAML(typ="safe", pure=True).load(folder / f"{name}.yaml")  # YAML 1.2, as DVC: 1e-5 is a number
    except YAMLError as error:
        raise RecipeError(f"recipe {name}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise RecipeError(f"recipe {name}: expected sections, found {type(values).__name__}")
    if "name" in values:
        raise RecipeError(f"recipe {name}: unknown key name; a recipe is named by its file")
    try:
        return Recipe.model_validate({**values, "name": name})
    except ValidationError as error:
        raise RecipeError(f"recipe {name}: {_first_line(error)}") from error


def _first_line(error: ValidationError) -> str:
    """The first fault with its place; a misspelt key with the name that was probably meant."""
    faults = error.errors()
    # a misspelt key is often a missing one too: say what was written
    first = next((fault for fault in faults if fault["type"] == "extra_forbidden"), faults[0])
    place = ".".join(map(str, first["loc"])) or "recipe"
    if first["type"] == "extra_forbidden":
        *section, key = first["loc"]
        model = Recipe.model_fields[section[0]].annotation if section else Recipe
        near = difflib.get_close_matches(str(key), model.model_fields, 1)
        return f"unknown key {place}" + (f"; did you mean {near[0]}?" if near else "")
    if first["type"] == "missing":
        return f"{place} is missing"
    message = first["msg"].removeprefix("Value error, ")
    return f"{place}: {message}" + (f", not {first['input']!r}" if first["type"] != "value_error" else "")
