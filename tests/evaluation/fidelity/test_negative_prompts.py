"""Negative prompts against a model that obeys by construction."""

from dataclasses import dataclass

import pytest
import torch

from gad.config import NegativePromptsConfig, load_recipe
from gad.diffusion.conditioning import Conditioning
from gad.diffusion.noise import draw_noise
from gad.diffusion.schedule import FlowSchedule
from gad.evaluation.fidelity.negative_prompts import (
    measure_negative_prompts,
    negative_pairs,
    negative_rows,
    sample_against_negative_prompts,
)
from gad.models.model import Model

CONFIG = NegativePromptsConfig(num_samples=6)


@dataclass(frozen=True)
class Obedient:
    """x0 = the prompt's own number, whatever the noise."""

    schedule: object = FlowSchedule()

    def __call__(self, x_t, t, conditioning):
        return conditioning.prompt_embeds[:, 0, 0].view(-1, 1, 1, 1).expand_as(x_t)


def noises(count=8):
    return draw_noise(range(count), (2, 1, 1), seed=1)


class Reads(Model):
    """A model of points whose prompts are numbers."""

    def condition(self, prompts):
        return Conditioning(torch.tensor([float(p or 0) for p in prompts]).view(-1, 1, 1))


@pytest.mark.parametrize("steps", [1, 4])
def test_guidance_against_a_negative_prompt_is_its_formula(steps):
    model, config = Reads(Obedient(), (2, 1, 1)), CONFIG.model_copy(update={"batch_size": 2})
    found = sample_against_negative_prompts(model, noises(3), ["1", "2", "3"], ["4", "", "3"], config, num_steps=steps)
    expected = torch.tensor([4 + 3 * (1 - 4), 0 + 3 * (2 - 0), 3.0])
    assert torch.allclose(found, expected.view(3, 1, 1, 1).expand_as(found), atol=1e-5)


def test_without_a_negative_prompt_a_student_makes_its_ordinary_picture():
    model, asked = Reads(Obedient(), (2, 1, 1)), [(0, "1", "4"), (1, "2", "5")]

    def score(images, prompts):
        return -(images.mean(1) - torch.tensor([float(prompt) for prompt in prompts])).abs()

    rows = negative_rows(model, model.denoiser, asked, score, CONFIG, num_steps=1)
    assert rows["prompt_score_without"].tolist() == pytest.approx([0, 0], abs=1e-6)
    assert rows["moved"].tolist() == pytest.approx([(4 + 3 * (1 - 4) - 1) ** 2, (5 + 3 * (2 - 5) - 2) ** 2], rel=1e-5)


def test_the_negative_prompt_of_a_scene_names_what_the_scene_shows():
    for _, prompt, negative in negative_pairs(CONFIG):
        noun = negative.removeprefix("a ").split(" on a ")
        assert noun[0] in prompt and prompt.endswith(f"on a {noun[1]}")
    assert {n for _, _, n in negative_pairs(CONFIG.model_copy(update={"negative_prompt": "blur"}))} == {"blur"}


def test_points_have_no_negative_prompts(point_teacher):
    recipe = load_recipe("smoke")
    settings = recipe.model_copy(
        update={"sensitivity": recipe.sensitivity.model_copy(update={"negative_prompts": CONFIG})}
    )
    assert all(
        rows.empty for rows in measure_negative_prompts(point_teacher, [("baseline", 0, point_teacher)], settings)
    )
