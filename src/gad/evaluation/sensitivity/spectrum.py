"""The largest singular values of a map's Jacobian: all of them in few dimensions, else by randomised iteration."""

from collections.abc import Iterable

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from gad.config import Recipe, SensitivityConfig
from gad.data.prompts import prompt_of
from gad.diffusion.jvp import Map, difference_jvps, exact_jvps
from gad.diffusion.maps import noise_to_image_map
from gad.diffusion.noise import draw_noise
from gad.diffusion.shapes import Latent
from gad.diffusion.singular_vectors import Along, top_singular_vectors
from gad.evaluation.sensitivity.analysis_noise import analysis_ids, check_analysis_student
from gad.metrics.response import response_spectrum, spectral_kl
from gad.models.external_sampler import ExternalSampler
from gad.models.model import Model
from gad.models.sampler import NamedStudent, num_sampler_steps

FULL = 16  # dimensions up to which the whole Jacobian is taken


def full_spectrum(phi: Map, x: Latent) -> Float[Tensor, "B D"]:
    """Every singular value of the Jacobian at each sample, falling, from its columns; as many calls as dimensions."""
    basis = torch.eye(x[0].numel()).to(x).view(-1, 1, *x.shape[1:])
    return response_spectrum(exact_jvps(phi, x, basis.expand(-1, *x.shape))[1])


def leading_spectrum(
    phi: Map, x: Latent, count: int, *, ids, seed: int = 0, rounds: int = 2, along: Along = exact_jvps
) -> Float[Tensor, "B K"]:
    """The ``count`` largest singular values of the Jacobian of ``phi`` at each sample, falling, per unit of noise.

    All there are where the latent has fewer. Up to ``FULL`` dimensions they are exact, above that they come from
    J v and J^T u alone (:func:`gad.diffusion.singular_vectors.top_singular_vectors`) and are lower bounds, closer with
    more ``rounds``.
    """
    dim = x[0].numel()
    if dim <= FULL:
        return full_spectrum(phi, x)[:, :count]
    return top_singular_vectors(phi, x, min(count, dim), ids=ids, seed=seed, rounds=rounds, along=along)[1]


def _along_of(model: Model, config: SensitivityConfig) -> Along:
    """How J v is taken for unit vectors: by differences for external models, at the length of normal noise."""
    if isinstance(model.denoiser, ExternalSampler):
        return lambda phi, x, units: difference_jvps(phi, x, units, h=config.perturbation_scale * x[0].numel() ** 0.5)
    return exact_jvps


@torch.no_grad()
def measure_spectra(teacher: Model, students: Iterable[NamedStudent], settings: Recipe) -> pd.DataFrame:
    """The largest singular values of the noise-to-image map: a row per variant, seed, noise and index, the teacher
    first.

    ``spectral_kl`` is KL(p_T ‖ p_S) in nats over these values alone (shares of their sum of squares), the same in
    each row of a noise and 0 for the teacher; lower is better.
    """
    config, sampling = settings.sensitivity, settings.sampling
    ids = analysis_ids(config)[: config.num_spectra]
    noise, prompts = draw_noise(ids, teacher.latent_shape, seed=config.seed), prompt_of(ids, sampling.prompts)

    def values(model: Model, denoise, num_steps: int) -> Tensor:
        phi = noise_to_image_map(denoise, model.condition(prompts), num_steps=num_steps)
        along = _along_of(model, config)
        return leading_spectrum(phi, noise, config.num_singular, ids=ids, seed=config.seed, along=along)

    reference = values(teacher, teacher.guided(sampling.guidance_scale), sampling.teacher_steps)
    tables = [_rows("teacher", 0, reference, reference)]
    for variant, seed, student in students:
        check_analysis_student(f"{variant} (seed {seed})", student, teacher)
        found = values(student, student.denoiser, num_sampler_steps(student, sampling))
        tables.append(_rows(variant, seed, found, reference))
    return pd.concat(tables, ignore_index=True)


def _rows(variant: str, seed: int, values: Tensor, reference: Tensor) -> pd.DataFrame:
    """Noises count from 0, as in the other tables."""
    kl = spectral_kl(values, reference)
    number, index = torch.meshgrid(torch.arange(len(values)), torch.arange(values.shape[1]), indexing="ij")
    columns = {"noise": number, "index": index + 1, "singular_value": values, "spectral_kl": kl[:, None] + 0 * values}
    table = pd.DataFrame({name: column.flatten().tolist() for name, column in columns.items()})
    return table.assign(variant=variant, seed=seed)


def spectra_of_seeds(spectra: pd.DataFrame) -> pd.DataFrame:
    """A row per student and seed with the means over noises of two numbers.

    ``spectral_kl_top``: spectral KL over the largest values alone, 0 is best · ``gain_top``: s_1(J_S) / s_1(J_T), 1 is
    best.
    """
    first = spectra[spectra["index"] == 1].set_index("noise")
    teacher = first.loc[first["variant"] == "teacher", "singular_value"]
    students = first[first["variant"] != "teacher"]
    gain = students["singular_value"] / teacher.reindex(students.index)
    rows = students.assign(gain_top=gain, spectral_kl_top=students["spectral_kl"])
    return rows.groupby(["variant", "seed"], sort=False)[["spectral_kl_top", "gain_top"]].mean().reset_index()
