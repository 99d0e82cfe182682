"""Singular directions against the whole decomposition of Jacobians that are known."""

import pytest
import torch

from gad.diffusion.noise import draw_direction, draw_noise, noise_span_part
from gad.diffusion.sampling import sample
from gad.diffusion.singular_vectors import top_singular_vectors

SHAPE = (2, 3, 4)
DIM = 24


def decompose(jacobian):
    """Singular values and right singular vectors ``[B, K, D]`` of a batch of matrices."""
    return torch.linalg.svd(jacobian)[1:]


@pytest.fixture
def linear():
    """A linear map of its own for each of three samples, with falling strengths, and its matrices ``[3, 24, 24]``."""
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.linalg.qr(torch.randn(3, DIM, DIM, generator=generator, dtype=torch.float64)).Q for _ in "ab")
    matrices = left @ torch.diag(2.0 ** -torch.arange(DIM, dtype=torch.float64)) @ right.mT
    return (lambda x: (matrices[: len(x)] @ x.flatten(1)[..., None]).view_as(x)), matrices


def test_they_are_those_of_a_linear_map(linear):
    phi, matrices = linear
    x = draw_noise(range(3), SHAPE, seed=0).double()
    directions, strengths = top_singular_vectors(phi, x, 4, rounds=8, ids=range(3), seed=0)
    values, vectors = decompose(matrices)
    assert directions.shape == (4, 3, *SHAPE) and strengths.shape == (3, 4)
    assert torch.allclose(strengths, values[:, :4], rtol=1e-8)
    overlaps = (directions.flatten(2).transpose(0, 1) * vectors[:, :4]).sum(2).abs()
    assert torch.allclose(overlaps, torch.ones(3, 4, dtype=torch.float64), atol=1e-8)


def test_they_are_those_of_the_exact_teachers_whole_chain(point_teacher):
    x = draw_noise(range(6), (2, 1, 1), seed=0).double()

    def phi(z):
        return sample(point_teacher.denoiser, z, None, num_steps=8)[-1]

    directions, strengths = top_singular_vectors(phi, x, 2, ids=range(6), seed=0)
    whole = torch.stack([torch.func.jacrev(phi)(z[None]).view(2, 2) for z in x])
    values, vectors = decompose(whole)
    assert torch.allclose(strengths, values, rtol=1e-6, atol=1e-12)
    overlaps = (directions.flatten(2).transpose(0, 1) * vectors).sum(2).abs()
    assert torch.allclose(overlaps, torch.ones(6, 2, dtype=torch.float64), atol=1e-6)
    moved = (whole @ directions[0].flatten(1)[..., None]).norm(dim=(1, 2))
    assert torch.allclose(moved, strengths[:, 0], rtol=1e-6)


def test_few_rounds_stay_below_the_singular_values_and_more_come_closer(linear):
    phi, matrices = linear
    x = draw_noise(range(3), SHAPE, seed=0).double()
    found = [top_singular_vectors(phi, x, 6, rounds=rounds, ids=range(3), seed=0)[1] for rounds in (1, 2, 4)]
    gaps = [decompose(matrices)[0][:, :6] - strengths for strengths in found]
    assert all((gap > -1e-12).all() for gap in gaps)
    assert gaps[0].max() > gaps[1].max() > gaps[2].max()


def test_they_are_orthonormal_with_a_positive_peak(linear):
    directions, _ = top_singular_vectors(linear[0], torch.zeros(3, *SHAPE).double(), 5, ids=range(3), seed=0)
    rows = directions.flatten(2).transpose(0, 1)  # B K D
    assert torch.allclose(rows @ rows.mT, torch.eye(5, dtype=torch.float64).expand(3, 5, 5), atol=1e-12)
    assert (rows.max(2).values == rows.abs().max(2).values).all()


def test_a_samples_directions_do_not_depend_on_its_batch(point_teacher):
    def phi(z):
        return sample(point_teacher.denoiser, z, None, num_steps=4)[-1]

    ids = [7, 2, 40]
    x = draw_noise(ids, (2, 1, 1), seed=0).double()
    whole = top_singular_vectors(phi, x, 1, rounds=1, ids=ids, seed=3)
    singly = [top_singular_vectors(phi, x[i : i + 1], 1, rounds=1, ids=[ids[i]], seed=3) for i in range(3)]
    assert torch.allclose(whole[0], torch.cat([one[0] for one in singly], dim=1), atol=1e-9)
    assert torch.allclose(whole[1], torch.cat([one[1] for one in singly]), rtol=1e-9)


def test_every_family_has_them_and_nothing_is_left_in_its_network(pipeline, conditioning, noise):
    """Reverse and forward mode pass through a diffusers network: |J v| as measured by a difference."""
    from gad.models.pipelines import pipeline_denoiser

    denoise, t = pipeline_denoiser(pipeline), torch.full((2,), 0.7)
    directions, strengths = top_singular_vectors(lambda x: denoise(x, t, conditioning), noise, 1, ids=range(2), seed=0)
    h = 1e-2
    for v, strength in zip(directions, strengths.unbind(1), strict=True):
        gap = denoise(noise + h * v, t, conditioning) - denoise(noise - h * v, t, conditioning)
        assert torch.allclose(gap.flatten(1).norm(dim=1) / (2 * h), strength, rtol=0.05)
    other = draw_direction(range(2), noise.shape[1:], seed=5, kind="isotropic")
    other = other / other.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    moved = denoise(noise + h * other, t, conditioning) - denoise(noise - h * other, t, conditioning)
    assert (moved.flatten(1).norm(dim=1) / (2 * h) < strengths[:, 0]).all()
    assert not directions.requires_grad and all(parameter.grad is None for parameter in denoise.parameters())


def test_the_part_in_their_span_is_a_projection_with_unit_variance_along_each(linear):
    directions, _ = top_singular_vectors(linear[0], torch.zeros(3, *SHAPE).double(), 4, ids=range(3), seed=0)
    w = draw_noise(range(3), SHAPE, seed=1).double()
    part = noise_span_part(w, directions)
    assert torch.allclose(noise_span_part(part, directions), part, atol=1e-12)
    assert (part * (w - part)).sum().abs() < 1e-12
    along = (directions * part).flatten(2).sum(2)
    assert torch.allclose(along, (directions * w).flatten(2).sum(2), atol=1e-12)


@pytest.mark.parametrize("count", [0, DIM + 1])
def test_more_directions_than_dimensions_are_refused(linear, count):
    with pytest.raises(ValueError, match=f"1 to {DIM} singular directions .* not {count}"):
        top_singular_vectors(linear[0], torch.zeros(3, *SHAPE).double(), count, ids=range(3), seed=0)
