"""Inversion against maps whose inverse is known."""

from dataclasses import dataclass

import pandas as pd
import pytest
import torch

from gad.config import InversionConfig, load_recipe
from gad.diffusion.noise import draw_noise
from gad.diffusion.sampling import sample
from gad.diffusion.schedule import CosineSchedule, FlowSchedule
from gad.evaluation.fidelity.inversion import inversion_rows, invert, invert_by_descent, measure_inversion
from gad.metrics.summary import summarise_samples
from gad.models.model import Model

CONFIG = InversionConfig(num_samples=4, descent_steps=200)


@dataclass(frozen=True)
class Linear:
    """x0 = a x_t + b: every chain of it is linear, with an inverse by hand."""

    a: float
    schedule: object = FlowSchedule()

    def __call__(self, x_t, t, conditioning=None):
        return self.a * x_t + 0.1


def noises(count=8):
    return draw_noise(range(count), (2, 1, 1), seed=1)


@pytest.mark.parametrize("steps", [2, 5, 20])
def test_the_chain_of_a_linear_denoiser_is_inverted_exactly(steps):
    denoise, noise = Linear(0.4), noises().double()
    image = sample(denoise, noise, None, num_steps=steps)[-1]
    found = invert(denoise, image, None, num_steps=steps, rounds=400)
    assert torch.allclose(found, noise, atol=1e-5)


def test_one_round_of_many_small_steps_recovers_the_swiss_rolls_noise(point_teacher):
    """DDIM inversion from just above the data; at t = 0 the exact denoiser of points has forgotten the noise."""
    denoise, noise = point_teacher.denoiser, noises(64)
    states = sample(denoise, noise, None, num_steps=400)

    def error(rounds: int) -> float:
        times = torch.linspace(1, 0, 401)
        x = states[200]  # t = 1/2, and back to 1
        for i in range(199, -1, -1):
            t, s = times[i].expand(len(x)), times[i + 1].expand(len(x))
            schedule, state = denoise.schedule, x
            ratio = (schedule.sigma(t) / schedule.sigma(s)).view(-1, 1, 1, 1)
            shift = schedule.alpha(t).view(-1, 1, 1, 1) - schedule.alpha(s).view(-1, 1, 1, 1) * ratio
            for _ in range(rounds):
                state = ratio * x + shift * denoise(state, t, None)
            x = state
        return (x - noise).square().mean().sqrt().item()

    assert error(1) < 0.05
    assert error(4) < error(1) / 5


def test_more_rounds_bring_the_image_of_the_found_noise_nearer(point_teacher):
    noise = noises(32)
    denoise = Linear(0.3, CosineSchedule())
    image = sample(denoise, noise, None, num_steps=10)[-1]
    errors = [
        (sample(denoise, invert(denoise, image, None, num_steps=10, rounds=n), None, num_steps=10)[-1] - image)
        .square().mean().item()
        for n in (1, 4, 16)
    ]  # fmt: skip
    assert errors[0] > 5 * errors[1] > 5 * errors[2]


def test_a_map_of_one_step_is_inverted_by_descent_and_refused_by_the_fixed_point():
    noise = noises()
    image = sample(Linear(0.7), noise, None, num_steps=1)[-1]
    with pytest.raises(ValueError, match="use invert_by_descent"):
        invert(Linear(0.7), image, None, num_steps=1)
    found = invert_by_descent(lambda z: sample(Linear(0.7), z, None, num_steps=1)[-1], image, num_steps=300)
    assert torch.allclose(found, noise, atol=1e-2)


def test_descent_leaves_what_the_map_does_not_answer_to_at_zero_and_samples_apart():
    noise = noises()
    keep = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1)
    found = invert_by_descent(lambda z: z * keep, noise * keep, num_steps=300)
    assert torch.allclose(found, noise * keep, atol=1e-2) and (found[:, 1] == 0).all()
    alone = invert_by_descent(lambda z: z * keep, (noise * keep)[2:3], num_steps=300)
    assert torch.allclose(alone, found[2:3], atol=1e-6)


def test_rows_of_a_faithful_map_have_cosine_one_and_of_a_constant_one_zero():
    faithful, constant = (Model(Linear(a), (2, 1, 1)) for a in (0.7, 0.0))
    rows = [inversion_rows(m, m.denoiser, [""] * 8, noises(), CONFIG, num_steps=1) for m in (faithful, constant)]
    assert rows[0]["noise_cosine"].min() > 0.999 and rows[0]["reconstruction_mse"].max() < 1e-4
    assert (rows[1]["noise_cosine"] == 0).all()


def test_a_short_chain_whose_fixed_point_repels_is_inverted_all_the_same():
    denoise, noise = Linear(1.4), noises()
    image = sample(denoise, noise, None, num_steps=4)[-1]
    astray = invert(denoise, image, None, num_steps=4, rounds=CONFIG.rounds)
    assert (sample(denoise, astray, None, num_steps=4)[-1] - image).square().mean() > 1
    rows = inversion_rows(Model(denoise, (2, 1, 1)), denoise, [""] * 8, noise, CONFIG, num_steps=4)
    assert rows["noise_cosine"].min() > 0.99 and rows["reconstruction_mse"].max() < 1e-2


def test_the_swiss_roll_teacher_and_a_student_get_their_inversion_rows(point_teacher):
    recipe = load_recipe("smoke")
    few = CONFIG.model_copy(update={"descent_steps": 20})
    settings = recipe.model_copy(update={"sensitivity": recipe.sensitivity.model_copy(update={"inversion": few})})
    students = [("baseline", 0, Model(Linear(0.5), (2, 1, 1)))]
    table = summarise_samples(pd.concat(list(measure_inversion(point_teacher, students, settings))))
    assert table["variant"].tolist() == ["teacher", "baseline"]
    assert table["noise_cosine"].abs().le(1 + 1e-6).all()
