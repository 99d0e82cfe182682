import pytest
import torch

from gad.diffusion.schedule import CosineSchedule, FlowSchedule
from gad.models.exact import ExactDenoiser

SCHEDULES = [CosineSchedule(), FlowSchedule()]
TIMES = torch.tensor([0.2, 0.6, 0.95], dtype=torch.float64)


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture(params=SCHEDULES, ids=["cosine", "flow"])
def exact(request):
    return ExactDenoiser(normal(7, 2, 1, 2), request.param)


def posterior(exact, x, t):
    """Points ``[N, D]`` and their probabilities given one x, by Bayes' rule."""
    points, alpha, sigma = exact.points.flatten(1), exact.schedule.alpha(t[None])[0], exact.schedule.sigma(t[None])[0]
    likelihood = torch.stack([torch.exp(-(x.flatten() - alpha * p).square().sum() / (2 * sigma**2)) for p in points])
    return points, likelihood / likelihood.sum()


def test_denoiser_equals_the_softmax_by_brute_force(exact):
    x_t = normal(3, 2, 1, 2, seed=1)
    for x, t, x0 in zip(x_t, TIMES, exact(x_t, TIMES), strict=True):
        points, weights = posterior(exact, x, t)
        assert torch.allclose(x0.flatten(), weights @ points, atol=1e-12)


def test_jacobian_is_alpha_over_sigma_squared_times_the_posterior_covariance(exact):
    x_t = normal(3, 2, 1, 2, seed=1)
    basis = torch.eye(4, dtype=torch.float64).view(4, 1, 2, 1, 2).expand(-1, 3, -1, -1, -1)
    columns = torch.stack([exact.jvp(x_t, TIMES, v).flatten(1) for v in basis], dim=2)  # B D D
    for x, t, jacobian in zip(x_t, TIMES, columns, strict=True):
        points, weights = posterior(exact, x, t)
        centred = points - weights @ points
        covariance = centred.T @ (weights[:, None] * centred)
        expected = exact.schedule.alpha(t[None])[0] / exact.schedule.sigma(t[None])[0] ** 2 * covariance
        assert torch.allclose(jacobian, expected, atol=1e-10)


def test_jvp_from_the_formula_equals_autograd(exact):
    x_t, direction = normal(3, 2, 1, 2, seed=1), normal(3, 2, 1, 2, seed=2)
    whole = torch.autograd.functional.jacobian(lambda x: exact(x, TIMES), x_t).flatten(4).flatten(0, 3)
    by_autograd = (whole @ direction.flatten()).view_as(x_t)
    assert torch.allclose(exact.jvp(x_t, TIMES, direction), by_autograd, atol=1e-12)


def test_far_from_the_data_weights_do_not_overflow(exact):
    assert exact(1e3 * normal(3, 2, 1, 2), TIMES).isfinite().all()
