import pytest
import torch

from gad.diffusion.jvp import Response, difference_jvp, exact_jvp
from gad.distillation.gad_loss import gad_response_loss
from gad.distillation.losses import matching_loss


@pytest.fixture
def tensors():
    """Two values and two derivatives, float64."""
    return torch.randn(4, 3, 2, 2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64).unbind()


def test_zero_when_student_equals_teacher(tensors):
    x0, other, jvp, _ = tensors
    assert torch.equal(gad_response_loss(Response(x0, jvp), Response(other, jvp)), torch.zeros(3, dtype=torch.float64))


def test_no_gradient_reaches_the_teacher(tensors):
    x0, other, ours, theirs = (tensor.clone().requires_grad_() for tensor in tensors)
    gad_response_loss(Response(x0, ours), Response(other, theirs)).sum().backward()
    assert ours.grad.abs().max() > 0
    assert theirs.grad is None and other.grad is None and x0.grad is None


def test_ignores_a_constant_offset(tensors):
    x, v, a, _ = tensors

    def phi(x):
        return torch.sin(x) * a

    teacher = exact_jvp(lambda x: x**2, x, v)
    plain, shifted = exact_jvp(phi, x, v), exact_jvp(lambda x: phi(x) + 7, x, v)
    assert torch.equal(gad_response_loss(plain, teacher), gad_response_loss(shifted, teacher))


def test_loss_on_differences_is_h_squared_d_times_loss_on_jvp(tensors):
    x, v, a, b = tensors
    h = 0.01
    student, teacher = (difference_jvp(phi, x, v, h=h) for phi in (lambda x: a * x.sin(), lambda x: b * x.cos()))
    moved = [(a * (x + h * v).sin() - a * x.sin()), (b * (x + h * v).cos() - b * x.cos())]
    on_differences = (moved[0] - moved[1]).square().flatten(1).sum(1)
    assert torch.allclose(h**2 * 8 * gad_response_loss(student, teacher), on_differences, rtol=1e-9)


@pytest.mark.parametrize("kind", ["mse", "smooth_l1"])
def test_matching_loss_is_a_mean_over_elements_and_zero_when_equal(tensors, kind):
    x0, target, *_ = tensors
    gap = (x0 - target).abs().flatten(1)
    by_hand = gap**2 if kind == "mse" else torch.where(gap < 1, gap**2 / 2, gap - 0.5)
    assert torch.allclose(matching_loss(x0, target, kind=kind), by_hand.mean(1), atol=1e-12)
    assert torch.equal(matching_loss(x0, x0, kind=kind), torch.zeros(3, dtype=torch.float64))


def test_matching_loss_sends_no_gradient_to_its_target(tensors):
    x0, target = (tensor.clone().requires_grad_() for tensor in tensors[:2])
    matching_loss(x0, target).sum().backward()
    assert target.grad is None and x0.grad.abs().max() > 0
