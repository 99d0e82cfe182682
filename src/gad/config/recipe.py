"""A recipe: its sections, and how a file becomes one."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, get_args

from pydantic import ValidationError, model_validator

from gad.config.control import ControlConfig
from gad.config.effect import keys_without_effect, with_any
from gad.config.external import ExternalStudent, check_external_first_steps
from gad.config.noise_pairs import NoisePairsConfig
from gad.config.sampling import Sampling
from gad.config.section import Count, Section
from gad.config.sensitivity import SensitivityConfig
from gad.config.student import StudentConfig
from gad.config.student_options import check_sampling_steps
from gad.config.teacher import TeacherConfig
from gad.config.variants import SCORE_FORMS, VARIANTS, check_variant
from gad.config.yaml_file import RecipeError, read_recipe_sections
from gad.runtime.paths import RECIPES

ROUNDING = 1e-6  # of student timesteps, which are float32
RENAMED = {  # keys of older recipes, which are refused with the new name
    "students": "external_models",
    "teacher.world": "teacher.dataset",
    "noise_pairs.num_nodes": "noise_pairs.student_steps",
    "sensitivity.sister": "sensitivity.negative_prompts and sensitivity.inversion",
    "control.layout.attention_nodes": "control.layout.attention_trajectory_steps",
}


def translate_old_recipe_keys(section: str, values: dict) -> dict:
    """A section's plain values, as an older version has recorded them, under the keys of today."""
    prefix = f"{section}."
    return {RENAMED.get(prefix + key, prefix + key).removeprefix(prefix): value for key, value in values.items()}


class Recipe(Section):
    """One complete run."""

    name: str
    teacher: TeacherConfig
    noise_pairs: NoisePairsConfig
    variants: list[str] = ["baseline", "gad"]  # the students that DVC trains; any other by its name
    student: StudentConfig
    sensitivity: SensitivityConfig
    control: ControlConfig
    external_models: list[ExternalStudent] = []  # measured beside our students
    dry_run: bool = False  # for doctor and benchmarks/full_scale.py: random weights, so nothing is downloaded
    # layers of a dry run's networks; all of them by default
    dry_run_depth: Annotated[Count | None, with_any("dry_run")] = None

    @property
    def sampling(self) -> Sampling:
        """How teacher and students are sampled in the noise pairs, and so wherever they are compared."""
        pairs = self.noise_pairs
        return Sampling(pairs.teacher_steps, pairs.guidance_scale, pairs.student_steps, pairs.prompt_source)

    @model_validator(mode="after")
    def _dataset_allows(self):
        unknown = sorted(set(self.variants) - set(VARIANTS))
        if unknown or "baseline" not in self.variants or len(set(self.variants)) < len(self.variants):
            fault = f"unknown variant {unknown[0]}" if unknown else "every variant once, the baseline among them"
            raise ValueError(f"variants: {fault}; there are {', '.join(VARIANTS)}")
        for variant in self.variants:
            check_variant(variant, self.student.paradigm)
        self._check_that_gad_acts()
        check_sampling_steps(self.student, self.variants, self.noise_pairs.student_steps)
        check_external_first_steps(self.external_models, self.variants, self.noise_pairs.student_steps)
        names = [student.name for student in self.external_models]
        if len(set(names)) < len(names):
            raise ValueError(f"names of external models repeat: {names}")
        taken = [name for name in names if name in ("teacher", *VARIANTS)]
        if taken:
            raise ValueError(f"an external model cannot be named {taken[0]}, as the teacher or a variant is")
        if self.teacher.dataset == "swiss_roll":
            of_images = [name for name in ("seeds", "fidelity") if getattr(self.sensitivity, name)]
            if of_images or any(entry.kind != "first_step" for entry in self.external_models):
                raise ValueError(f"{(of_images or ['external_models'])[0]} needs images, the Swiss roll is 2-D")
            if "low_frequency" in {self.noise_pairs.direction, *self.sensitivity.directions}:
                raise ValueError("low_frequency directions need images, the Swiss roll is 2-D")
            if self.noise_pairs.direction == "singular" and self.noise_pairs.num_singular > 2:
                raise ValueError(f"num_singular {self.noise_pairs.num_singular}: the Swiss roll has 2 dimensions")
            if self.noise_pairs.guidance_scale != 1:
                raise ValueError("guidance_scale must be 1 on the Swiss roll, which has no prompts")
        if self.student.h_schedule != "any" and len(set(self.noise_pairs.steps)) == 1:
            needed = "noise_pairs.smallest_scale and directions_per_noise above 1"
            raise ValueError(f"student.h_schedule {self.student.h_schedule} needs steps that differ: set {needed}")
        if (self.teacher.dataset == "prompts") != (self.noise_pairs.prompts is not None):
            raise ValueError("noise_pairs.prompts belongs to teacher.dataset prompts, and to no other")
        unsplit = self.teacher.pretrained is None and self.teacher.captions == "all"
        if self.teacher.dataset == "emoji" and unsplit and self.noise_pairs.captions != "all":
            raise ValueError("noise_pairs.captions split_by_words needs a teacher with teacher.captions split_by_words")
        if self.teacher.dataset == "prompts":
            for name in self.control.tasks:
                key = "boxes_file" if name == "layout" else "prompts"
                if getattr(getattr(self.control, name), key, "not asked for") is None:
                    raise ValueError(f"control.{name}.{key} is needed: teacher.dataset prompts has none of its own")
            negative = self.sensitivity.negative_prompts
            if negative and negative.negative_prompt is None:
                key = "sensitivity.negative_prompts.negative_prompt"
                raise ValueError(f"{key} is needed: teacher.dataset prompts has none of its own")
        return self

    def _check_that_gad_acts(self):
        """Raise ValueError, in one line, where a variant's term would never act."""
        student, steps = self.student, self.noise_pairs.student_steps
        (low, high), times = student.gad_interval, [1 - step / steps for step in range(steps)]
        terms = {name: VARIANTS[name].weighted_term for name in self.variants}
        on_pairs = [name for name, term in terms.items() if term and term not in SCORE_FORMS]
        if on_pairs and not any(low - ROUNDING <= time <= high + ROUNDING for time in times):
            shown = ", ".join(f"{time:g}" for time in times)
            raise ValueError(f"student.gad_interval {student.gad_interval} has no student timestep ({shown})")

    @model_validator(mode="after")
    def _keys_have_an_effect(self):
        for fault in keys_without_effect(self):
            raise ValueError(fault)
        return self


def recipe_names(folder: Path = RECIPES) -> list[str]:
    """Every recipe there is."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def load_recipe(name: str, folder: Path = RECIPES) -> Recipe:
    """The checked recipe of that name. Raises RecipeError, in one line, for anything that is wrong with it."""
    if name not in recipe_names(folder):
        raise RecipeError(f"unknown recipe {name!r}; there are {', '.join(recipe_names(folder))}")
    values = read_recipe_sections(folder / f"{name}.yaml", f"recipe {name}")
    return recipe_of_sections(name, values)


def recipe_of_sections(name: str, values: dict) -> Recipe:
    """The checked recipe of sections as a file holds them. Raises RecipeError as :func:`load_recipe`."""
    if "name" in values:
        raise RecipeError(f"recipe {name}: unknown key name; a recipe is named by its file")
    try:
        return Recipe.model_validate({**values, "name": name})
    except ValidationError as error:
        raise RecipeError(f"recipe {name}: {recipe_validation_message(error, Recipe)}") from error


def _keys(model: type[Section] | None, section: Sequence[str | int]) -> list[str]:
    """The keys that a section knows, found through optional sections and lists of them; none where it has no model."""
    for part in section:
        if model is not None and isinstance(part, str):
            annotation = model.model_fields[part].annotation
            kinds = (annotation, *get_args(annotation))
            model = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Section)), None)
    return [] if model is None else list(model.model_fields)


def recipe_validation_message(error: ValidationError, model: type[Section]) -> str:
    """The first fault of a ``model`` with its place; a misspelt key with the name that was probably meant."""
    faults = error.errors()
    # a misspelt key is often a missing one too: say what was written
    first = next((fault for fault in faults if fault["type"] == "extra_forbidden"), faults[0])
    place = ".".join(map(str, first["loc"]))  # empty for a fault of the whole
    if first["type"] == "extra_forbidden":
        if place in RENAMED:
            return f"{place} is called {RENAMED[place]} now"
        *section, key = first["loc"]
        near = difflib.get_close_matches(str(key), _keys(model, section), 1)
        return f"unknown key {place}" + (f"; did you mean {near[0]}?" if near else "")
    if first["type"] == "missing":
        return f"{place} is missing"
    message = first["msg"].removeprefix("Value error, ")
    said = f", not {first['input']!r}" if first["type"] != "value_error" else ""
    return ": ".join(filter(None, [place, message])) + said
