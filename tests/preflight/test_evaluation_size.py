"""What doctor says that evaluation will ask of the networks is what it asks."""

from dataclasses import replace

import pytest
import torch

from gad.config import SeedsConfig, load_recipe
from gad.diffusion.noise import draw_noise
from gad.evaluation.sensitivity.seed_classifiers import classifier_pixel_features
from gad.models.model import load_model
from gad.models.sampler import samplers_of_models
from gad.preflight.evaluation_size import (
    check_evaluation_size,
    estimate_calls_per_image,
    estimate_evaluation_disk,
    estimate_evaluation_images,
)


class Counted:
    """A denoiser that counts the samples that it is asked for."""

    def __init__(self, denoiser):
        self.denoiser, self.schedule, self.asked = denoiser, denoiser.schedule, 0

    def __call__(self, x_t, t, conditioning):
        self.asked += len(x_t)
        return self.denoiser(x_t, t, conditioning)


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_an_image_takes_so_many_calls_of_teacher_and_student(pipelines, tmp_path, scale):
    pipelines["dit"].save_pretrained(tmp_path / "teacher")
    settings = load_recipe("pixart_tdm")
    pairs = settings.noise_pairs.model_copy(update={"teacher_steps": 3, "guidance_scale": scale, "prompts": None})
    settings = settings.model_copy(update={"noise_pairs": pairs})
    model = load_model(tmp_path / "teacher")
    counted = Counted(model.denoiser)
    model = replace(model, denoiser=counted)
    noise, found = draw_noise(range(2), model.latent_shape, seed=0), {}
    for sampler in samplers_of_models(model, [("student", 0, model)], settings.sampling):
        counted.asked = 0
        sampler.generate(noise, ["a red car", "a blue cat"])
        found[sampler.name] = counted.asked / len(noise)
    assert found == estimate_calls_per_image(settings)


def test_doctor_tells_images_calls_and_disk_of_evaluation_at_the_papers_size():
    settings = load_recipe("sdxl_tdm")
    fidelity = settings.sensitivity.fidelity.model_copy(update={"num_images": 10_000})
    sensitivity = settings.sensitivity.model_copy(update={"fidelity": fidelity})
    settings = settings.model_copy(update={"sensitivity": sensitivity})
    images = estimate_evaluation_images(settings)
    assert images["fidelity"] == 10_000
    lines = {finding.what.split(":")[0]: finding.what for finding in check_evaluation_size(settings)}
    calls = estimate_calls_per_image(settings)
    assert set(lines) == {f"evaluation, {name}" for name in images} | {"hours of evaluation"}
    assert "10000 images a model" in lines["evaluation, fidelity"] and "0.05 GB" in lines["evaluation, fidelity"]
    assert f"{10 * calls['teacher']:.1f}k calls of the teacher" in lines["evaluation, fidelity"]
    assert images["composition"] == 4 * 553 and "2212 images a model" in lines["evaluation, composition"]
    assert not list(check_evaluation_size(load_recipe("smoke")))


def test_the_disk_of_seed_images_is_what_is_cached():
    seeds, recipe = SeedsConfig(num_seeds=2, train_prompts=3, val_prompts=1, test_prompts=2), load_recipe("smoke")
    recipe = recipe.model_copy(update={"sensitivity": recipe.sensitivity.model_copy(update={"seeds": seeds})})
    prepared = classifier_pixel_features(torch.zeros(2 * seeds.num_prompts, 3, 64, 64))
    assert estimate_evaluation_disk(recipe)["seeds"] == prepared.nbytes / 1e9
