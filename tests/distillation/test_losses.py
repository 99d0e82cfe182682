"""TDM, SiD and LADD: what their losses stand for, and their gradients where the teacher is known exactly."""

import math

import pytest
import torch

from gad.diffusion.schedule import CosineSchedule, FlowSchedule, add_noise, from_x0
from gad.distillation.fake_score import fake_score_loss
from gad.distillation.gad_loss import gad_released_loss, gad_score_fixed_loss, gad_score_loss
from gad.distillation.ladd import ladd_discriminator_loss, ladd_generator_loss
from gad.distillation.losses import min_snr_weight
from gad.distillation.renoising import renoising_factors, renoising_importance_weight
from gad.distillation.sid import sid_loss
from gad.distillation.tdm import tdm_loss
from gad.models.exact import ExactDenoiser


def draw(count: int, *shape: int, seed: int = 0) -> tuple[torch.Tensor, ...]:
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).unbind()


def test_a_discriminator_that_knows_nothing_costs_two_log_two():
    nothing = torch.zeros(2, 5)
    assert torch.allclose(ladd_discriminator_loss(nothing, nothing, nothing), torch.full((2,), 2 * math.log(2)))


def test_the_generator_wants_the_logits_that_the_discriminator_denies_it():
    logits = torch.zeros(2, 5, requires_grad=True)
    ladd_generator_loss(logits).sum().backward()
    wanted, logits.grad = logits.grad, None
    ladd_discriminator_loss(torch.zeros(2, 5), logits, torch.zeros(2, 5)).sum().backward()
    assert (wanted < 0).all() and (logits.grad > 0).all()


def test_importance_weight_is_one_for_equal_noises():
    (added,) = draw(1, 3, 2, 2, 2)
    assert torch.equal(renoising_importance_weight(added, added), torch.ones(3, dtype=torch.float64))


def test_released_form_cancels_h():
    gaps = draw(4, 3, 2, 2, 2)
    scores = [gad_released_loss(*(h * gap for gap in gaps), guidance=4.5) for h in (10.0, 100.0)]
    assert torch.allclose(*scores, rtol=1e-2)  # but for the constant of the pseudo-Huber loss


@pytest.mark.parametrize("schedule", [CosineSchedule(), FlowSchedule()])
def test_renoising_in_two_steps_is_renoising_in_one(schedule):
    low, high = torch.tensor([0.2], dtype=torch.float64), torch.tensor([0.7], dtype=torch.float64)
    a, b = renoising_factors(schedule, low, high)
    assert torch.allclose(a * schedule.alpha(low), schedule.alpha(high))
    assert torch.allclose((a * schedule.sigma(low)).square() + b.square(), schedule.sigma(high).square())
    start = renoising_factors(schedule, torch.zeros_like(low), high)
    assert torch.allclose(torch.stack(start), torch.stack([schedule.alpha(high), schedule.sigma(high)]))


def test_min_snr_weight_turns_an_x0_error_into_an_eps_error_below_its_cap():
    x0, answer, x_t = draw(3, 3, 2, 1, 1)
    t = torch.tensor([0.6, 0.7, 0.9], dtype=torch.float64)
    eps = [from_x0(CosineSchedule(), guess, x_t, t, "eps") for guess in (x0, answer)]
    errors = [(a - b).square().flatten(1).mean(1) for a, b in ((x0, answer), eps)]
    assert torch.allclose(min_snr_weight(CosineSchedule(), t) * errors[0], errors[1])
    assert torch.equal(min_snr_weight(CosineSchedule(), t / 6), torch.full_like(t, 5.0))


# -- on the exact teacher of a finite point set ------------------------------------------------------------------------

POINTS = draw(40, 2, 1, 1, seed=1)
SHIFT = torch.tensor([0.3, -0.2], dtype=torch.float64).view(2, 1, 1)
SCHEDULE = CosineSchedule()


def scores(shift, count: int = 4000):
    """x0 of a student whose distribution is the teacher's, shifted; x_t and the two exact scores there."""
    points = torch.stack(POINTS)
    index = torch.randint(len(points), (count,), generator=torch.Generator().manual_seed(2))
    x0 = (points[index] + shift).requires_grad_()
    (eps,) = draw(1, count, 2, 1, 1, seed=3)
    t = torch.rand(count, generator=torch.Generator().manual_seed(4), dtype=torch.float64) * 0.6 + 0.2
    x_t = add_noise(SCHEDULE, x0, eps, t)
    real, fake = ExactDenoiser(points, SCHEDULE), ExactDenoiser(points + shift, SCHEDULE)
    return x0, x_t, t, real, fake


LOSSES = {
    "tdm": lambda x0, real, fake: tdm_loss(x0, real, fake),
    "tdm_huber": lambda x0, real, fake: tdm_loss(x0, real, fake, kind="pseudo_huber"),
    "sid": lambda x0, real, fake: sid_loss(x0, real, fake, alpha=1.0),
    "sid_half": lambda x0, real, fake: sid_loss(x0, real, fake, alpha=0.5),
}


@pytest.mark.parametrize("name", LOSSES)
def test_gradient_vanishes_when_the_students_distribution_is_the_teachers(name):
    x0, x_t, t, real, fake = scores(0 * SHIFT)
    LOSSES[name](x0, real(x_t, t), fake(x_t, t)).sum().backward()
    assert x0.grad.abs().max() < 1e-4  # rounding, divided by the smallest scale


@pytest.mark.parametrize("name", LOSSES)
def test_gradient_points_the_right_way_when_the_students_distribution_is_shifted(name):
    x0, x_t, t, real, fake = scores(SHIFT)
    LOSSES[name](x0, real(x_t, t), fake(x_t, t)).sum().backward()
    along = torch.cosine_similarity(x0.grad.mean(0).flatten(), SHIFT.flatten(), dim=0)
    assert along > 0.9  # descent goes against the shift


def jacobian_gap(shift, count: int):
    """Responses of both exact scores at one x_t to many directions, and their Jacobians' gap as a matrix."""
    _, x_t, t, real, fake = scores(shift, count=1)
    x_t, t = x_t.detach().expand(count, -1, -1, -1), t.expand(count)
    (v,) = draw(1, count, 2, 1, 1, seed=5)
    eye = torch.eye(2, dtype=torch.float64).view(2, 2, 1, 1)
    columns = [fake.jvp(x_t[:1], t[:1], e[None]) - real.jvp(x_t[:1], t[:1], e[None]) for e in eye]
    return v, fake.jvp(x_t, t, v), real.jvp(x_t, t, v), torch.stack([c.flatten() for c in columns], dim=1), x_t


def test_score_form_as_printed_has_a_gradient_of_zero_mean():
    count = 20_000
    v, fake, real, gap, x_t = jacobian_gap(SHIFT, count)
    x_t = x_t.clone().requires_grad_()
    gad_score_loss(x_t, fake, real).sum().backward()
    single = x_t.grad.flatten(1).norm(dim=1).mean()
    assert single > 0.01  # each sample pushes
    assert x_t.grad.mean(0).norm() < 4 * single / count**0.5  # all together do not


def test_score_fixed_form_has_the_gap_of_the_jacobians_times_its_own_as_its_mean_gradient():
    count = 20_000
    v, _, _, gap, _ = jacobian_gap(SHIFT, count)
    jacobian = torch.tensor([[1.0, 0.5], [-0.2, 0.8]], dtype=torch.float64, requires_grad=True)  # the student's
    own = v.flatten(1) @ jacobian.T
    mismatch = (own.detach() @ gap.T).view_as(v)
    gad_score_fixed_loss(own.view_as(v), mismatch, torch.zeros_like(v)).mean().backward()
    wanted = gap @ jacobian.detach()
    assert wanted.norm() > 0.01
    assert torch.allclose(2 * jacobian.grad, wanted, atol=6 * wanted.norm() / count**0.5)  # 2 elements


@pytest.mark.parametrize("start", [1.0, -1.0])
def test_descent_on_the_score_fixed_form_gives_a_gaussian_its_spread_from_either_orientation(start):
    covariance = torch.tensor([[2.0, 0.6], [0.6, 0.5]], dtype=torch.float64)
    jacobian = torch.diag(torch.tensor([1.0, start], dtype=torch.float64)).requires_grad_()
    (v,) = draw(1, 64, 2, seed=6)
    v = (
        v @ torch.linalg.inv(torch.linalg.cholesky(v.T @ v / len(v))).T
    )  # its second moments are exactly those of N(0, I)

    def answer(spread):  # of the exact denoiser of N(0, spread) at alpha = .8, sigma = .6
        return 0.8 * spread @ torch.linalg.inv(0.64 * spread + 0.36 * torch.eye(2, dtype=torch.float64))

    optimizer = torch.optim.SGD([jacobian], lr=1.0)
    for _ in range(2000):
        own = v @ jacobian.T
        fake, real = (own.detach() @ answer(s).T for s in (jacobian.detach() @ jacobian.detach().T, covariance))
        optimizer.zero_grad()
        gad_score_fixed_loss(*(response[..., None, None] for response in (own, fake, real))).mean().backward()
        optimizer.step()
    assert torch.allclose(jacobian @ jacobian.T, covariance, atol=1e-4)
    assert jacobian.det().sign() == start  # what it does not say: which noise goes where


def test_score_forms_vanish_when_the_scores_answer_alike():
    v, fake, real, _, x_t = jacobian_gap(0 * SHIFT, 3)
    assert gad_score_loss(x_t, fake, real).abs().max() == 0
    assert gad_score_fixed_loss(v, fake, real).abs().max() == 0


def test_fake_score_loss_sends_no_gradient_to_the_student():
    prediction, x0 = (tensor.clone().requires_grad_() for tensor in draw(2, 3, 2, 2, 2))
    fake_score_loss(prediction, x0, torch.ones(3, dtype=torch.float64)).sum().backward()
    assert x0.grad is None and prediction.grad.abs().max() > 0


def test_no_score_gets_a_gradient_from_distribution_matching():
    x0, real, fake = (tensor.clone().requires_grad_() for tensor in draw(3, 3, 2, 2, 2))
    tdm_loss(x0, real, fake).sum().backward()
    assert real.grad is None and fake.grad is None and x0.grad.abs().max() > 0
