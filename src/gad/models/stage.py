"""What a stage's notebook works with: its recipe, its folder and the models that it compares."""

from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from torch import Tensor

from gad.config import Recipe, Section, StudentConfig, load_recipe
from gad.config.stage_command import stage_command
from gad.models.external import load_external
from gad.models.first_step import first_step_models
from gad.models.model import Model, load_model
from gad.models.sampler import NamedStudent
from gad.models.students import load_students, student_seed_dir
from gad.runtime.devices import own_device
from gad.runtime.paths import stage_cache_dir, stage_dir

SECTIONS = {"fidelity": "sensitivity"}  # of a stage that reads another one's section of the recipe
COMPARING = ("sensitivity", "fidelity", "control")  # stages that measure trained students

SectionOf = TypeVar("SectionOf", bound=Section)


@dataclass(frozen=True)
class Stage(Generic[SectionOf]):
    """A stage of one recipe. ``students`` are the trained ones, with those whose first step the teacher takes, and
    ``external`` the other models that the recipe names; both are empty in stages that come before the training.
    ``Stage[StudentConfig]`` is one whose section is of that kind."""

    name: str
    recipe: str
    settings: Recipe
    teacher: Model
    students: list[NamedStudent]
    external: list[NamedStudent]

    @property
    def section(self) -> SectionOf:
        """The recipe's section that the stage reads."""
        return getattr(self.settings, SECTIONS.get(self.name, self.name))

    @property
    def folder(self) -> Path:
        """Where the stage writes."""
        return stage_dir(self.recipe, self.name)

    @property
    def cache(self) -> Path:
        """The folder of the stage's cached results, until it has ended."""
        return stage_cache_dir(self.recipe, self.name)

    @property
    def models(self) -> list[NamedStudent]:
        """All students, those of the recipe's own training first."""
        return self.students + self.external

    @property
    def points(self) -> Tensor | None:
        """The Swiss roll's data ``[N, 2]``, to be drawn behind samples; None for images."""
        return self.teacher.points


def load_stage(recipe: str, name: str) -> Stage:
    """The stage ``name`` of a recipe with its models, on the section's device where the stage compares students.

    Raises ValueError, in one line, for a faulty recipe, a missing teacher, or a comparison without students.
    """
    settings, folder = load_recipe(recipe), stage_dir(recipe, "teacher")
    if not folder.exists():
        raise ValueError(f"{recipe} has no teacher yet; run: {stage_command(recipe, 'teacher')}")
    teacher = load_model(folder)
    if name not in COMPARING:
        return Stage(name, recipe, settings, teacher, [], [])
    device = getattr(settings, SECTIONS.get(name, name)).device
    teacher = teacher.on(own_device(device))
    students = load_students(recipe, teacher, device=device)
    if "baseline" not in {variant for variant, _, _ in students}:  # which all are compared with
        how = stage_command(recipe, "student", "baseline")
        raise ValueError(f"recipe {recipe!r} has no finished students of the baseline; run: {how}")
    students += first_step_models(settings, teacher, students)
    return Stage(name, recipe, settings, teacher, students, load_external(settings, teacher, device=device))


def stage_first_seed_student(stage: Stage[StudentConfig], variant: str) -> Model:
    """The variant's student of the first seed."""
    seed = stage.section.seeds_of(variant)[0]
    return load_model(student_seed_dir(stage.folder / variant, seed), teacher=stage.teacher)
