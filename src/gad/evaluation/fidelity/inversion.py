r"""From an image back to its noise: the fixed point of each step, or descent where a step has none.

A step of :func:`gad.diffusion.sampling.ddim_step` from t to s is
:math:`x_s = \alpha_s \hat x_0(x_t) + \sigma_s (x_t - \alpha_t \hat x_0(x_t)) / \sigma_t`.
Its inverse is the fixed point

.. math::
    x_t = \frac{\sigma_t}{\sigma_s}\, x_s + \Big(\alpha_t - \alpha_s \frac{\sigma_t}{\sigma_s}\Big)\, \hat x_0(x_t)
    \quad (s > 0), \qquad x_t \leftarrow x_t + \alpha_t\,(x_0 - \hat x_0(x_t)) \quad (s = 0),

where the first round alone is DDIM inversion (Song et al. 2021) and more rounds are fixed-point inversion (Pan et al.
2023). A single step starts at alpha_1 = 0 and ends at sigma_0 = 0, where neither form is defined: there the distance to
the image is descended. Steps as long as a quarter of the trajectory need not contract either, so samplers of few steps
are inverted by descent as well.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from gad.config import InversionConfig, Recipe
from gad.config.sample_ids import NEGATIVE_PROMPTS, task_sample_ids
from gad.data.prompts import prompt_of
from gad.diffusion.conditioning import Conditioning
from gad.diffusion.denoiser import Denoiser, Recomputed
from gad.diffusion.noise import draw_noise
from gad.diffusion.sampling import sample, sampling_timesteps
from gad.diffusion.shapes import Latent, expand_per_sample
from gad.evaluation.jobs import Job
from gad.evaluation.per_model import measured_per_model, per_model_section_key
from gad.models.model import Model
from gad.models.sampler import NamedStudent, Sampler
from gad.runtime.cache import Result, ResultCache


@torch.no_grad()
def invert(
    denoise: Denoiser, x0: Latent, conditioning: Conditioning | None, *, num_steps: int, rounds: int = 1
) -> Latent:
    """The noise ``[B, C, H, W]`` that a deterministic sampler of ``num_steps`` steps maps to ``x0``.

    Exact in the limit of many rounds where the fixed point is an attractor, which small steps make it; a diverging
    sample comes out large or not finite. Raises ValueError for a single step.
    """
    if num_steps < 2:
        raise ValueError("one sampling step has no fixed point to invert; use invert_by_descent")
    schedule, times = denoise.schedule, sampling_timesteps(num_steps, x0.device).to(x0)
    x = x0
    for t, s in zip(reversed(times[:-1].unbind()), reversed(times[1:].unbind()), strict=True):
        t, s = t.expand(len(x)), s.expand(len(x))
        alpha, sigma = expand_per_sample(schedule.alpha(t), x), expand_per_sample(schedule.sigma(t), x)
        alpha_s, sigma_s = expand_per_sample(schedule.alpha(s), x), expand_per_sample(schedule.sigma(s), x)
        state = x  # the earlier state is near the later one
        for _ in range(rounds):
            x0_hat = denoise(state, t, conditioning)
            if s[0] == 0:
                state = state + alpha * (x - x0_hat)
            else:
                state = sigma / sigma_s * x + (alpha - alpha_s * sigma / sigma_s) * x0_hat
        x = state
    return x


def invert_by_descent(phi: Callable[[Tensor], Tensor], x0: Latent, *, num_steps: int, lr: float = 0.1) -> Latent:
    """A noise that ``phi`` maps near ``x0``: Adam on the mean squared distance of each sample, from zero.

    Directions of the noise that ``phi`` does not respond to stay at zero, so only what the image determines is found.
    Samples do not mix.
    """
    noise = torch.zeros_like(x0).requires_grad_()
    optimizer = torch.optim.Adam([noise], lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, num_steps, eta_min=lr / 10)
    for _ in range(num_steps):
        with torch.enable_grad():
            loss = (phi(noise) - x0).square().flatten(1).sum()
            (noise.grad,) = torch.autograd.grad(loss, [noise])
        optimizer.step()
        schedule.step()
    return noise.detach()


FEW = 8  # steps, up to which a sampler is inverted by descent


def inversion_rows(
    model: Model, denoise: Denoiser, prompts: list[str], noise: Tensor, config: InversionConfig, *, num_steps: int
) -> pd.DataFrame:
    """A row per sample of noise -> x0 -> noise -> x0 through one map of ``num_steps`` steps.

    ``noise_cosine``, of the found and the true noise, in [-1, 1] (1: the image determines its noise; higher is better);
    ``reconstruction_mse``, mean over elements of the squared distance of the two x0 (0 is best). Samplers of a few long
    steps are inverted by descent, others by fixed point: compare maps of different kinds with care.
    """
    conditioning = model.condition(prompts)
    recomputed = denoise if num_steps == 1 else Recomputed(denoise)

    def phi(z: Tensor) -> Tensor:
        return sample(recomputed, z, conditioning, num_steps=num_steps)[-1]

    with torch.no_grad():
        x0 = phi(noise)
    if num_steps <= FEW:
        found = invert_by_descent(phi, x0, num_steps=config.descent_steps)  # its graph holds a call at a time
    else:
        found = invert(denoise, x0, conditioning, num_steps=num_steps, rounds=config.rounds)
    with torch.no_grad():
        again = phi(found)
    return pd.DataFrame(
        {
            "noise_cosine": F.cosine_similarity(found.flatten(1), noise.flatten(1)).tolist(),
            "reconstruction_mse": (again - x0).square().flatten(1).mean(1).tolist(),
        }
    )


def inversion_evaluation(teacher: Sampler, settings: Recipe) -> Job:
    """Each model's rows of :func:`inversion_rows`, at the same noises and prompts."""
    config, source = settings.sensitivity.inversion, settings.noise_pairs.prompt_source
    assert config is not None

    def prepare(cached: ResultCache) -> list[str]:
        return prompt_of(task_sample_ids(NEGATIVE_PROMPTS, config.num_samples), source)

    def run(sampler: Sampler, prompts: list[str]) -> Result:
        model, ids = sampler.model, task_sample_ids(NEGATIVE_PROMPTS, config.num_samples)
        noise = draw_noise(ids, model.latent_shape, seed=config.seed)
        denoise = model.guided(sampler.guidance_scale)
        return {"rows": inversion_rows(model, denoise, prompts, noise, config, num_steps=sampler.num_steps)}

    return Job("inversion", partial(per_model_section_key, "inversion", teacher, settings), prepare, run)


def measure_inversion(
    teacher: Model, students: Iterable[NamedStudent], settings: Recipe, *, cache_dir: Path | None = None
) -> Iterator[pd.DataFrame]:
    """Yield each model's rows of :func:`inversion_rows`; ``cache_dir`` as in :func:`measured_per_model`."""
    yield from (
        found["rows"] for found in measured_per_model(inversion_evaluation, teacher, students, settings, cache_dir)
    )
