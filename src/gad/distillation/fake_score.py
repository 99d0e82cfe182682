"""The fake score: a network that learns the student's own distribution, for TDM, DMD2 and SiD."""

from gad.diffusion.denoiser import Denoiser, NetworkDenoiser
from gad.diffusion.guidance import unguided
from gad.diffusion.shapes import Latent, PerSample, mean_per_sample
from gad.distillation.batch import Batch
from gad.distillation.losses import min_snr_weight
from gad.distillation.renoising import Renoised


def denoising_loss_of_fake(fake: Denoiser, state: Renoised, batch: Batch, schedule) -> PerSample:
    """The fake score's denoising loss at the student's re-noised outputs, ``[B]``."""
    weight = min_snr_weight(schedule, state.t) * state.importance
    return fake_score_loss(fake(state.x_t, state.t, batch.conditioning), state.x0, weight)


def fake_score_of(teacher: Denoiser, student: NetworkDenoiser) -> NetworkDenoiser:
    """Where a fake score starts: a copy of the teacher's network, or of the student's for a teacher without one."""
    source = unguided(teacher)
    start = source if isinstance(source, NetworkDenoiser) else student
    return start.copied()


def fake_score_loss(prediction: Latent, x0: Latent, weight: PerSample) -> PerSample:
    """Denoising loss of the fake score on the student's x0, ``[B]``: weight · mean (x0_F(x_t, t) - sg x0)²."""
    return weight * mean_per_sample((prediction - x0.detach()).square())
