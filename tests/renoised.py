"""A student's re-noised output, as an objective without a shared rollout makes it."""

from gad.distillation.renoising import Renoised, renoised_rollout, student_rollout


def renoised_output(student, batch, generator, *, student_steps, onward) -> Renoised:
    """The student's x0 at a random step of its trajectory, with its gradient, and a random re-noised state of it."""
    rollout = student_rollout(student, batch, generator, student_steps=student_steps)
    return renoised_rollout(rollout, student.schedule, batch, generator, onward=onward)
