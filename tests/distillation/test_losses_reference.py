"""Every loss against a second one, written slowly from its equation: one value and one gradient, in float64."""

import inspect
from functools import partial

import pytest
import torch
from reference import distillation_losses as slow
from reference import gad_losses as slow_gad

from gad.diffusion.jvp import Response
from gad.diffusion.schedule import CosineSchedule, FlowSchedule
from gad.distillation import fake_score, ladd, losses, pair_terms, renoising, sid, tdm
from gad.distillation import gad_loss as forms
from gad.distillation.fake_score import fake_score_loss
from gad.distillation.ladd import ladd_discriminator_loss, ladd_generator_loss
from gad.distillation.losses import matching_loss
from gad.distillation.pair_terms import pair_term_diversity_loss, pair_term_random_gradient_loss
from gad.distillation.renoising import renoising_importance_weight
from gad.distillation.sid import sid_loss
from gad.distillation.tdm import tdm_loss

GUIDANCE = 4.5


def draw(count: int, *shape: int, seed: int = 0) -> tuple[torch.Tensor, ...]:
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).unbind()


LATENTS = draw(4, 3, 2, 2, 2)
LOGITS = draw(3, 3, 7)
WEIGHT = torch.tensor([0.3, 2.0, 5.0], dtype=torch.float64)
TIMES = torch.tensor([0.05, 0.25, 0.6, 0.97], dtype=torch.float64)
SIZES = torch.tensor([1.0, 0.2, 100.0], dtype=torch.float64).view(3, 1, 1, 1)  # the last one beyond diversity's bound


def agree(ours, slow, inputs):
    """The two give one value, and gradients that agree, for every input that takes part."""
    copies = [[tensor.clone().requires_grad_() for tensor in inputs] for _ in range(2)]
    values = [loss(*copy) for loss, copy in zip((ours, slow), copies, strict=True)]
    assert values[0].shape == (len(inputs[0]),) and values[0].dtype == torch.float64
    assert torch.allclose(*values, rtol=1e-10, atol=1e-12)
    weights = torch.linspace(-1, 2, len(inputs[0]), dtype=torch.float64)
    for value in values:
        (value @ weights).backward()
    for one, other in zip(*copies, strict=True):
        assert (one.grad is None) == (other.grad is None)
        assert one.grad is None or torch.allclose(one.grad, other.grad, rtol=1e-8, atol=1e-12)
    assert any(one.grad is not None and one.grad.any() for one in copies[0])


def still(jvp: torch.Tensor) -> Response:
    return Response(torch.zeros_like(jvp), jvp)


def response(student, teacher):
    return forms.gad_response_loss(still(student), still(teacher))


def diversity(student):
    return pair_term_diversity_loss(still(student), jvp_power=0.4)


def random_gradient(student, teacher, *, bounded=False):  # along a drawn direction, which asks for no gradient
    return pair_term_random_gradient_loss(still(student), still(teacher), LATENTS[2], bounded=bounded)


CASES = {
    "ladd_generator_loss": (ladd_generator_loss, slow.generator, LOGITS[:1]),
    "ladd_discriminator_loss": (ladd_discriminator_loss, slow.discriminator, LOGITS),
    "ladd_discriminator_loss, one prompt": (ladd_discriminator_loss, slow.discriminator, LOGITS[:2]),
    "fake_score_loss": (fake_score_loss, slow.fake_score, (*LATENTS[:2], WEIGHT)),
    "renoising_importance_weight": (renoising_importance_weight, slow.importance, LATENTS[:2]),
    "gad_response_loss": (response, slow_gad.gad_response, LATENTS[:2]),
    "gad_score_loss": (forms.gad_score_loss, slow_gad.gad_score, LATENTS[:3]),
    "gad_score_fixed_loss": (forms.gad_score_fixed_loss, slow_gad.gad_score, LATENTS[:3]),
    "gad_released_loss": (
        partial(forms.gad_released_loss, guidance=GUIDANCE),
        partial(slow_gad.gad_released, guidance=GUIDANCE),
        LATENTS,
    ),
    "pair_term_diversity_loss": (diversity, partial(slow_gad.diversity, power=0.4), [SIZES * LATENTS[0]]),
    "pair_term_random_gradient_loss": (random_gradient, partial(slow_gad.random_gradient, r=LATENTS[2]), LATENTS[:2]),
    "pair_term_random_gradient_loss, bounded": (
        partial(random_gradient, bounded=True),
        partial(slow_gad.random_gradient, r=LATENTS[2], bounded=True),
        (SIZES * LATENTS[0], LATENTS[1]),
    ),
}
for kind in ("mse", "smooth_l1"):
    CASES[f"matching_loss, {kind}"] = (
        partial(matching_loss, kind=kind),
        partial(slow.matching, kind=kind),
        LATENTS[:2],
    )
for kind in ("mse", "pseudo_huber"):
    CASES[f"tdm_loss, {kind}"] = (
        partial(tdm_loss, kind=kind),
        partial(slow.distribution_matching, kind=kind),
        LATENTS[:3],
    )
for alpha in (0.5, 1.0, 1.2):
    CASES[f"sid_loss, alpha {alpha}"] = (
        partial(sid_loss, alpha=alpha),
        partial(slow.score_identity, alpha=alpha),
        LATENTS[:3],
    )
for name, schedule in {"cosine": CosineSchedule(), "flow": FlowSchedule()}.items():
    for cap in (5.0, 0.3):
        CASES[f"min_snr_weight, {name}, cap {cap}"] = (
            partial(losses.min_snr_weight, schedule, cap=cap),
            partial(slow.min_snr, schedule=name, cap=cap),
            [TIMES],
        )


@pytest.mark.parametrize("name", CASES)
def test_value_and_gradient_equal_those_of_the_slow_loss(name):
    agree(*CASES[name])


def test_no_loss_is_without_a_slow_one():
    homes = (forms, losses, fake_score, ladd, pair_terms, renoising, sid, tdm)
    functions = [f for module in homes for _, f in inspect.getmembers(module, inspect.isfunction)]
    written = {f.__name__ for f in functions if f.__module__ in {module.__name__ for module in homes}}
    named = {name for name in written if name.endswith(("_loss", "_weight"))}
    of_losses = {f.__name__ for f in functions if f.__module__ in (forms.__name__, losses.__name__)}
    assert named == {name.split(",")[0] for name in CASES} and len(named) > 10
    assert of_losses - named == {"pseudo_huber"}  # a part of losses


def test_smooth_l1_is_asked_on_both_sides_of_its_bend_and_min_snr_of_its_cap():
    gap = (LATENTS[0] - LATENTS[1]).abs()
    assert (gap < 1).any() and (gap > 1).any()
    for schedule in (CosineSchedule(), FlowSchedule()):
        snr = (schedule.alpha(TIMES) / schedule.sigma(TIMES)).square()
        assert all((snr < cap).any() and (snr > cap).any() for cap in (5.0, 0.3))
