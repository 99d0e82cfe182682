"""The fake score: a network that learns the student's own distribution, for TDM, DMD2 and SiD."""

from gad.diffusion.denoiser import Denoiser, NetworkDenoiser
from gad.diffusion.guidance import unguided
from gad.diffusion.retimed_schedule import process_schedule
from gad.diffusion.shapes import Latent, PerSample, mean_per_sample
from gad.distillation.batch import Batch
from gad.distillation.losses import min_snr_weight
from gad.distillation.renoising import Renoised
from gad.models.adapter import fresh_adapter_like, has_adapter

FIRST_SEED = 2**20  # of fake scores, which are not to begin with the student's numbers


def denoising_loss_of_fake(fake: Denoiser, state: Renoised, batch: Batch, schedule) -> PerSample:
    """The fake score's denoising loss at the student's re-noised outputs, ``[B]``."""
    weight = min_snr_weight(process_schedule(schedule), state.t) * state.importance
    return fake_score_loss(fake(state.x_t, state.t, batch.conditioning), state.x0, weight)


def fake_score_of(teacher: Denoiser, student: NetworkDenoiser, *, seed: int) -> NetworkDenoiser:
    """Where a fake score starts: a copy of the teacher's network, or of the student's for a teacher without one.

    Beside a student that is an adapter it is one as well, on the teacher's own weights, drawn from ``seed``.
    """
    source = unguided(teacher)
    start = source if isinstance(source, NetworkDenoiser) else student
    if has_adapter(student.network):
        return fresh_adapter_like(student, start, seed=FIRST_SEED + seed)
    return start.copied()


def fake_score_loss(prediction: Latent, x0: Latent, weight: PerSample) -> PerSample:
    """Denoising loss of the fake score on the student's x0, ``[B]``: weight · mean (x0_F(x_t, t) - sg x0)²."""
    return weight * mean_per_sample((prediction - x0.detach()).square())
