"""Students whose first sampling step the teacher takes at inference: diversity is settled there (Distilling Diversity).

They are rows of their own, entries of ``external_models`` of kind `first_step`. With guidance 1 the teacher takes that
step without guidance, which students have in their weights: guidance is off early and on from the second step.
"""

from dataclasses import dataclass

from torch import nn

from gad.config import Recipe
from gad.diffusion.conditioning import Conditioning
from gad.diffusion.denoiser import Denoiser, NetworkDenoiser
from gad.diffusion.retimed_schedule import RetimedSchedule
from gad.diffusion.sampling import sample, x0_of_ddim_step
from gad.diffusion.schedule import Schedule
from gad.diffusion.shapes import Latent, PerSample
from gad.models.model import Model
from gad.models.sampler import NamedStudent


@dataclass(frozen=True)
class TeacherFirstStep:
    """A denoiser that is the student's, but at t = 1: there it is the x0 that leads to the teacher's own state at the
    second student timestep, which the teacher reaches in its share of ``teacher_steps``."""

    teacher: Denoiser
    student: NetworkDenoiser
    teacher_steps: int
    student_steps: int

    @property
    def schedule(self) -> Schedule:
        return self.student.schedule

    @property
    def network(self) -> nn.Module:
        """The student's, whose attention can be read."""
        return self.student.network

    def __call__(self, x_t: Latent, t: PerSample, conditioning: Conditioning | None) -> Latent:
        first = t == 1
        if not bool(first.any()):
            return self.student(x_t, t, conditioning)
        assert bool(first.all()), "samples of one call stand at one timestep"
        stop = self.teacher_steps // self.student_steps
        state = sample(self.teacher, x_t, conditioning, num_steps=self.teacher_steps, stop=stop)[-1]
        return x0_of_ddim_step(self.schedule, x_t, state, t, t - 1 / self.student_steps)


def first_step_models(settings: Recipe, teacher: Model, students: list[NamedStudent]) -> list[NamedStudent]:
    """Every seed of the variant that an entry of kind `first_step` names, under the entry's name.

    Raises ValueError, in one line, where that variant is not trained, or its students have timesteps of their own: the
    teacher's step ends elsewhere.
    """
    found: list[NamedStudent] = []
    sampling = settings.sampling
    for entry in (entry for entry in settings.external_models if entry.kind == "first_step"):
        first = teacher.guided(entry.guidance_scale)
        ours = [named for named in students if named[0] == entry.source]
        if not ours:
            raise ValueError(f"external_models, {entry.name}: variant {entry.source} is not trained")
        for _, seed, model in ours:
            assert isinstance(model.denoiser, NetworkDenoiser), "a student is a network"
            if isinstance(model.denoiser.schedule, RetimedSchedule):
                own = f"{entry.source} has timesteps of its own, the teacher's first step ends at others"
                raise ValueError(f"external_models, {entry.name}: {own}")
            denoiser = TeacherFirstStep(first, model.denoiser, sampling.teacher_steps, sampling.student_steps)
            found.append((entry.name, seed, Model(denoiser, model.latent_shape, model.pipeline)))
    return found
