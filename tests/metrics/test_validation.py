"""What is measured of a student while it trains."""

import pytest
import torch
from torch import nn

from gad.config import NoisePairsConfig, ValidationConfig
from gad.diffusion.noise import draw_noise
from gad.diffusion.sampling import sample
from gad.metrics.convergence import curve_metrics
from gad.metrics.validation import prepare_validation
from gad.models.model import load_model

FEW = ValidationConfig(num_noises=8, num_prompts=4, images=6)
OF_IMAGES = NoisePairsConfig(
    num_pairs=4, direction="low_frequency", perturbation_scale=0.1, step="spherical", teacher_steps=2,
    guidance_scale=3.0, student_steps=1, batch_size=5,
)  # fmt: skip


class Silent(nn.Module):
    """A denoiser whose output does not depend on its input."""

    def __init__(self, schedule):
        super().__init__()
        self.schedule = schedule

    def forward(self, x_t, t, conditioning=None):
        return torch.full_like(x_t, 0.3)


def test_a_copy_of_the_teacher_agrees_with_it_in_everything(point_teacher, smoke):
    pairs = smoke.noise_pairs.model_copy(update={"student_steps": smoke.noise_pairs.teacher_steps})
    validation = prepare_validation(point_teacher, pairs, "hash", FEW)
    row = validation.measure(point_teacher.denoiser, point_teacher).row
    assert (row["jvp_cosine_isotropic"], row["gain_median_isotropic"]) == pytest.approx((1, 1), abs=1e-5)
    assert row["map_error_median"] == 0 and row["seed_retrieval_accuracy"] == 1
    for name in ("mode_coverage", "distance_to_roll"):
        assert row[name] == pytest.approx(row[f"{name}_teacher"])
    assert curve_metrics(row) == ["jvp_cosine_isotropic", "gain_median_isotropic", "map_error_median",
                                  "seed_retrieval_accuracy", "mode_coverage", "distance_to_roll"]  # fmt: skip


def test_a_student_that_ignores_its_noise_has_no_response_and_one_mode(point_teacher, smoke):
    validation = prepare_validation(point_teacher, smoke.noise_pairs, "hash", FEW)
    row = validation.measure(Silent(point_teacher.denoiser.schedule), point_teacher).row
    assert row["gain_median_isotropic"] == 0 and row["jvp_cosine_isotropic"] == 0
    assert row["seed_retrieval_accuracy"] == 0.5 and row["mode_coverage"] == 1 / 16
    assert row["map_error_median_low"] <= row["map_error_median"] <= row["map_error_median_high"]


def test_responses_are_differences_at_h_between_outputs_of_the_same_student(point_teacher, smoke):
    validation = prepare_validation(point_teacher, smoke.noise_pairs, "hash", FEW)
    data, direction = validation.data, validation.data.directions["isotropic"]
    first, moved = (
        sample(point_teacher.denoiser, z, None, num_steps=8)[-1] for z in (data.noise, data.noise + 0.5 * direction)
    )
    assert torch.allclose(validation.reference.x0, first, atol=1e-6)
    assert torch.allclose(validation.reference.responses[0], (moved - first) / 0.5, atol=1e-5)


def test_validation_noises_are_those_of_no_pair(point_teacher, smoke):
    noise = prepare_validation(point_teacher, smoke.noise_pairs, "hash", FEW).data.noise
    of_pairs = draw_noise(range(200), point_teacher.latent_shape, seed=smoke.noise_pairs.seed)
    assert torch.cdist(noise.flatten(1), of_pairs.flatten(1)).min() > 0


def test_the_teacher_is_asked_once_for_all_students_of_a_recipe(point_teacher, smoke, tmp_path, monkeypatch):
    given = (point_teacher, smoke.noise_pairs, "hash")
    first = prepare_validation(*given, FEW, folder=tmp_path / "cache")
    monkeypatch.setattr("gad.metrics.validation_set.sample", None)  # would raise
    shown = FEW.model_copy(update={"images": 2, "first_step": 7})
    again = prepare_validation(*given, shown, folder=tmp_path / "cache")
    assert torch.equal(first.reference.responses, again.reference.responses)
    with pytest.raises(TypeError):  # another teacher's pairs: what was cached is thrown away
        prepare_validation(point_teacher, smoke.noise_pairs, "other", FEW, folder=tmp_path / "cache")


def test_students_of_images_are_measured_along_both_kinds_and_shown(pipelines, tmp_path):
    pipelines["dit"].save_pretrained(tmp_path)
    teacher = load_model(tmp_path)
    before = torch.get_rng_state()
    with torch.random.fork_rng():
        validation = prepare_validation(teacher, OF_IMAGES, "hash", FEW)
        measured = validation.measure(teacher.denoiser, teacher)
    assert torch.equal(before, torch.get_rng_state())
    assert curve_metrics(measured.row) == [
        "jvp_cosine_isotropic", "gain_median_isotropic", "jvp_cosine_low_frequency", "gain_median_low_frequency",
        "map_error_median", "seed_retrieval_accuracy", "vendi", "object_accuracy",
    ]  # fmt: skip
    assert measured.shown.shape == validation.teacher_shown.shape == (6, 3, 64, 64)
    assert validation.data.shown == [0, 1, 2, 3, 4, 5] and 1 <= measured.row["vendi"] <= 2
    assert len(set(validation.data.prompts.captions)) == 4
