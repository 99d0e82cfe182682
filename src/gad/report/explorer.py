"""Outputs of teacher and students while a noise is turned along a direction."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gad.config import load_recipe, recipe_names
from gad.config.sample_ids import EXPLORE
from gad.data.emoji import seeds
from gad.data.emoji.scenes import make_scene_prompt
from gad.diffusion.noise import Direction, draw_direction, draw_noise, noise_direction_part
from gad.diffusion.sampling import sample
from gad.diffusion.shapes import Latent
from gad.diffusion.singular_vectors import top_singular_vectors
from gad.models.model import load_model
from gad.models.published_students import load_published_students
from gad.models.sampler import Sampler
from gad.models.students import has_finished_student, load_students
from gad.runtime.paths import stage_dir

DIRECTIONS = ("isotropic", "low_frequency", "singular")
ANGLES = tuple(range(-90, 91, 15))  # degrees at which the teacher is sampled, once for each place
NUM_PROMPTS = 8
NUM_POINTS = 64  # noises of the Swiss roll that are turned together
SINGULAR = 4  # top singular directions of the teacher's map that span its space
SINGULAR_STEPS = 5  # of the teacher's sampler whose map they belong to: its own trajectory has four times that


@dataclass(frozen=True)
class Place:
    """Where the walk starts and which way it goes."""

    prompt: str
    seed: int
    direction: Direction


@dataclass(frozen=True)
class Explorer:
    """Models sampled from the same turned noises. The teacher's outputs and its directions are cached."""

    teacher: Sampler
    students: tuple[Sampler, ...]
    prompts: tuple[str, ...]
    outputs: dict[Place, Tensor] = field(default_factory=dict)
    singular: dict[tuple[str, int], Tensor] = field(default_factory=dict)

    @property
    def directions(self) -> tuple[str, ...]:
        """The kinds of direction that there are here: 2-D data have no frequencies."""
        return DIRECTIONS if self.teacher.model.pipeline else ("isotropic", "singular")

    @property
    def points(self) -> Tensor | None:
        """The teacher's data points, ``[N, 2]``, to be drawn behind the outputs; None for images."""
        points = getattr(self.teacher.model.denoiser, "points", None)
        return None if points is None else points.flatten(1)

    def _ids(self, seed: int) -> range:
        count = 1 if self.teacher.model.pipeline else NUM_POINTS
        return range(EXPLORE + seed * count, EXPLORE + (seed + 1) * count)

    def _singular(self, place: Place, noise: Latent) -> Tensor:
        """Orthonormal directions ``[K, B, C, H, W]`` of the teacher's strongest response at this noise."""
        key = (place.prompt, place.seed)
        if key not in self.singular:
            model, few = self.teacher.model, min(SINGULAR_STEPS, self.teacher.num_steps)
            denoise, conditioning = (
                model.guided(self.teacher.guidance_scale),
                model.condition([place.prompt] * len(noise)),
            )
            phi = lambda z: sample(denoise, z, conditioning, num_steps=few)[-1]  # noqa: E731
            count = min(SINGULAR, noise[0].numel() // 2)
            self.singular[key] = top_singular_vectors(phi, noise, count, rounds=1, ids=self._ids(place.seed), seed=0)[0]
        return self.singular[key]

    def noises(self, place: Place, angles: Sequence[float | int]) -> Latent:
        """The start turned by each angle in degrees, ``[A B, C, H, W]``: z + (cos a - 1) P z + sin(a) v, v = P w.

        P projects on the space of the direction and w ~ N(0, I), so every turned noise is N(0, I) again where P does
        not depend on z; singular directions do, and with few of them in many dimensions that changes little.
        """
        ids, shape = self._ids(place.seed), self.teacher.model.latent_shape
        noise = draw_noise(ids, shape, seed=0)
        basis = self._singular(place, noise) if place.direction == "singular" else None
        inside = noise_direction_part(noise, place.direction, basis=basis)
        along = draw_direction(ids, shape, seed=0, kind=place.direction, basis=basis)
        turns = torch.deg2rad(torch.tensor(angles, dtype=torch.float32))
        return torch.cat([noise + (a.cos() - 1) * inside + a.sin() * along for a in turns])

    def _teacher(self, place: Place) -> Tensor:
        """The teacher's outputs at ``ANGLES``, ``[A, B, ...]``."""
        if place not in self.outputs:
            noise = self.noises(place, ANGLES)
            made = self.teacher.generate(noise, [place.prompt] * len(noise))
            self.outputs[place] = made.unflatten(0, (len(ANGLES), -1))
        return self.outputs[place]

    def look(self, place: Place, angle: float | int) -> dict[str, Tensor]:
        """Each model's output at that angle in degrees; the teacher at the nearest of ``ANGLES``."""
        nearest = min(range(len(ANGLES)), key=lambda k: abs(ANGLES[k] - angle))
        noise = self.noises(place, [angle])
        students = {a.name: a.generate(noise, [place.prompt] * len(noise)) for a in self.students}
        return {f"teacher at {ANGLES[nearest]}°": self._teacher(place)[nearest]} | students

    def strip(self, place: Place, angles: Sequence[float | int] = (-60, -30, 0, 30, 60)) -> dict[str, Tensor]:
        """Each model's outputs along the way; 2-D outputs of all angles together."""
        noise = self.noises(place, angles)
        return {a.name: a.generate(noise, [place.prompt] * len(noise)) for a in (self.teacher, *self.students)}


def explorable() -> list[str]:
    """Recipes whose teacher is there."""
    return [name for name in recipe_names() if stage_dir(name, "teacher").exists()]


def explorer_of(recipe: str) -> Explorer:
    """A recipe's teacher, with the first finished student of each variant, or where none is trained here with the
    published ones; alone where there is neither.

    Raises RecipeError or ValueError, in one line, for an unknown recipe or a teacher that is not there.
    """
    settings = load_recipe(recipe)
    pairs = settings.noise_pairs
    teacher = load_model(stage_dir(recipe, "teacher"))
    load = load_students if has_finished_student(recipe) else load_published_students
    first: dict[str, Sampler] = {}
    for variant, seed, model in load(recipe, teacher):
        first.setdefault(variant, Sampler(variant, seed, model, pairs.student_steps))
    prompts = (
        [make_scene_prompt(i, seed=seeds.EXPLORER).caption for i in range(NUM_PROMPTS)] if teacher.pipeline else [""]
    )
    sampler = Sampler("teacher", 0, teacher, pairs.teacher_steps, pairs.guidance_scale)
    return Explorer(sampler, tuple(first.values()), tuple(dict.fromkeys(prompts)))
