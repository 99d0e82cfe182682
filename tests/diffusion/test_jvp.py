import pytest
import torch

from gad.data.emoji.backbones import build_backbone
from gad.data.swiss_roll import make_swiss_roll
from gad.diffusion.guidance import Guided
from gad.diffusion.jvp import difference_jvp, difference_jvp_rounding_floor, exact_jvp, exact_jvps
from gad.diffusion.sampling import sample
from gad.diffusion.schedule import CosineSchedule
from gad.diffusion.step_size import smallest_step_size
from gad.models.exact import ExactDenoiser
from gad.models.pipelines import pipeline_denoiser, pipeline_network
from gad.models.text_encoding import text_encoding_of_prompts

T = torch.tensor([0.3, 0.8], dtype=torch.float64)


@pytest.fixture
def exact():
    return ExactDenoiser(make_swiss_roll(50).double().view(-1, 2, 1, 1), CosineSchedule())


@pytest.fixture
def point():
    x, v = torch.randn(2, 2, 2, 1, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return x, v


def test_jvp_matches_the_closed_form_of_the_exact_teacher(exact, point):
    x, v = point
    response = exact_jvp(lambda x: exact(x, T), x, v)
    assert torch.equal(response.x0, exact(x, T))
    assert (response.jvp - exact.jvp(x, T, v)).abs().max() <= 1e-9


@torch.no_grad()
def test_jvp_of_the_whole_chain_is_the_product_of_the_closed_forms(exact, point):
    x, v = point
    response = exact_jvp(lambda x: sample(exact, x, None, num_steps=2)[-1], x, v)
    one, half = torch.ones(2, dtype=torch.float64), torch.full((2,), 0.5, dtype=torch.float64)
    schedule = exact.schedule
    scale = schedule.sigma(half) / schedule.sigma(one)
    moved = (schedule.alpha(half) - scale * schedule.alpha(one)).view(-1, 1, 1, 1) * exact.jvp(x, one, v)
    moved = moved + scale.view(-1, 1, 1, 1) * v
    middle = sample(exact, x, None, num_steps=2)[1]
    # the chain's times are float32 numbers, exact for 1 and 1/2
    assert torch.allclose(response.jvp, exact.jvp(middle, half, moved), atol=1e-9)


def test_forward_difference_error_shrinks_with_h(exact, point):
    x, v = point
    truth = exact.jvp(x, T, v)
    steps = (1e-2, 1e-3, 1e-4, 1e-5)
    errors = [(difference_jvp(lambda x: exact(x, T), x, v, h=h).jvp - truth).norm().item() for h in steps]
    for larger, smaller in zip(errors[:-1], errors[1:], strict=True):
        assert smaller == pytest.approx(larger / 10, rel=0.2)  # first order in h


def test_jvp_is_linear_in_the_direction(exact, point):
    x, v = point
    w = v.flip(0)

    def jvp(direction):
        return exact_jvp(lambda x: exact(x, T), x, direction).jvp

    assert torch.allclose(jvp(2 * v - 3 * w), 2 * jvp(v) - 3 * jvp(w), atol=1e-10)


@pytest.mark.parametrize("guidance_scale", [1.0, 4.5])
@torch.no_grad()
def test_both_forms_agree_on_every_model_family(backbone, vae, conditioning, noise, guidance_scale):
    pipeline = build_backbone(backbone, vae, seed=0)
    pipeline_network(pipeline).double().eval()
    guided = Guided(pipeline_denoiser(pipeline), text_encoding_of_prompts(pipeline, [""]), guidance_scale)
    x = noise.double()
    v = x.flip(0)
    exact = exact_jvp(lambda x: guided(x, T, conditioning), x, v)
    difference = difference_jvp(lambda x: guided(x, T, conditioning), x, v, h=1e-4)
    assert torch.allclose(exact.x0, difference.x0, atol=1e-5)
    # SANA's linear attention computes in float32 whatever it is given, so h cannot be smaller
    assert (exact.jvp - difference.jvp).norm() <= 5e-4 * exact.jvp.norm()
    value, along = exact_jvps(lambda x: guided(x, T, conditioning), x, torch.stack([v, -2 * v]))
    assert torch.equal(value, exact.x0)
    assert torch.allclose(along, torch.stack([exact.jvp, -2 * exact.jvp]), rtol=1e-9, atol=1e-12)
    assert exact.jvp.norm() > 0.1


def test_a_step_under_the_rounding_floor_is_refused_and_a_usable_one_named(exact, point):
    x, v = (part.float() for part in point)
    with pytest.raises(ValueError) as error:
        difference_jvp(lambda x: exact(x, T.float()), x, v, h=1e-8)
    message = str(error.value)
    assert "drowns in the rounding of float32; use h >= " in message and len(message.splitlines()) == 1
    named = float(message.rsplit(" ", 1)[1])
    difference_jvp(lambda x: exact(x, T.float()), x, v, h=named)


@pytest.mark.parametrize("h", [0.0, -0.1, float("nan")])
def test_a_step_that_is_not_positive_is_refused(exact, point, h):
    with pytest.raises(ValueError, match="perturbation_scale h must be positive"):
        difference_jvp(lambda x: exact(x, T), *point, h=h)


def test_coarser_numbers_need_larger_steps():
    floors = [smallest_step_size(dtype) for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16)]
    assert floors == sorted(floors)


def test_measured_disagreement_is_smaller_at_a_good_step_than_at_either_end(exact, point):
    x, v = (part.float() for part in point)
    coarse, good, fine = difference_jvp_rounding_floor(
        lambda x: exact(x, T.float()), x, v, steps=(1.0, 1e-3, 2e-6)
    ).amax(1)
    assert good < coarse and good < fine
