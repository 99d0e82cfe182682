"""Climbing a score in the noise."""

import math

import pytest
import torch

from gad.config import NoiseOptimisationConfig
from gad.data.swiss_roll import make_swiss_roll
from gad.diffusion.noise import draw_noise, turn_noise
from gad.diffusion.schedule import CosineSchedule
from gad.evaluation.control.noise_optimisation import (
    Inputs,
    ascend_all_noises,
    ascend_noise,
    noise_score_and_gradient,
    run_noise_optimisation,
    summarise_noise_optimisation,
)
from gad.evaluation.control.prompts import Prompts
from gad.metrics.clip_encoder import load_clip_encoder
from gad.models.exact import ExactDenoiser
from gad.models.model import Model, load_model
from gad.models.sampler import Sampler

CONFIG = NoiseOptimisationConfig(num_prompts=6, iterations=8)
TOWARDS = draw_noise([99], (3, 2, 2), seed=0)


def projected(noise):
    """A score whose maximum on a sphere is known: the direction ``TOWARDS``."""
    return (noise * TOWARDS).flatten(1).sum(1), noise


def points_inputs(teacher, count=6, prepared=True):
    inputs = Inputs(
        draw_noise(range(count), (2, 1, 1), seed=0), Prompts([""] * count), make_swiss_roll(count, 6), None, None
    )
    return Inputs(**(vars(inputs) | {"teacher": ascend_all_noises(teacher, inputs, CONFIG)})) if prepared else inputs


def test_the_optimum_on_the_sphere_is_reached():
    noise = draw_noise(range(5), (3, 2, 2), seed=0)
    ascent = ascend_noise(projected, noise, iterations=60, angle=0.5)
    best = noise.flatten(1).norm(dim=1) * TOWARDS.norm()
    assert torch.allclose(ascent.score[-1], best, rtol=1e-3)


def test_every_norm_stays_and_no_score_falls():
    noise = draw_noise(range(5), (3, 2, 2), seed=0)
    ascent = ascend_noise(projected, noise, iterations=12, angle=2.0)
    norms = ascent.noise.flatten(2).norm(dim=2)
    assert torch.allclose(norms, norms[:1].expand_as(norms), rtol=1e-5)
    assert (ascent.score.diff(dim=0) >= 0).all() and (ascent.score[-1] > ascent.score[0]).all()


def test_a_turn_has_its_angle():
    z, g = draw_noise(range(4), (3, 2, 2), seed=1), draw_noise(range(4), (3, 2, 2), seed=2)
    angle = torch.tensor([0.1, 0.5, 1.0, 0.0])
    cosine = torch.cosine_similarity(z.flatten(1), turn_noise(z, g, angle).flatten(1))
    assert torch.allclose(cosine, angle.cos(), atol=1e-5)
    assert torch.equal(turn_noise(z, torch.zeros_like(z), angle), z)


def test_the_gradient_equals_finite_differences(point_teacher):
    teacher = Sampler("teacher", 0, point_teacher, num_steps=4)
    noise, target, phi = (
        draw_noise(range(3), (2, 1, 1), seed=3).double(),
        make_swiss_roll(3, 6).double(),
        teacher.phi([""] * 3),
    )

    def scored(z):
        return -(phi(z) - target).square().sum(1), phi(z)

    _, gradient, _ = noise_score_and_gradient(scored, noise)
    for axis in range(2):
        step = torch.zeros(1, 2, 1, 1, dtype=torch.double)
        step[0, axis] = 1e-5
        slope = (scored(noise + step)[0] - scored(noise - step)[0]) / 2e-5
        assert torch.allclose(gradient[:, axis, 0, 0], slope, rtol=1e-3, atol=1e-5)


def test_points_come_nearer_to_their_targets(point_teacher):
    teacher = Sampler("teacher", 0, point_teacher, num_steps=4, batch_size=4)
    answer = run_noise_optimisation(teacher, points_inputs(teacher), CONFIG)
    assert len(answer.rows) == len(answer.outputs) == 6 * (CONFIG.iterations + 2)
    numbers = summarise_noise_optimisation(answer.rows)
    assert numbers["optimised_gain"] > 0.1
    assert numbers["optimised_gain_per_step"] == pytest.approx(numbers["optimised_gain"] / CONFIG.iterations)
    assert numbers["optimised_gain_teachers_noise"] == pytest.approx(numbers["optimised_gain"], abs=1e-4)
    distance = (answer.outputs - make_swiss_roll(6, 6).repeat(CONFIG.iterations + 2, 1)).norm(dim=1)
    assert torch.allclose(distance, -torch.tensor(answer.rows["score"].to_numpy()).float(), atol=1e-4)


def test_batches_do_not_mix(point_teacher):
    ascents = []
    for batch_size in (2, 6):
        teacher = Sampler("teacher", 0, point_teacher, num_steps=4, batch_size=batch_size)
        ascents.append(ascend_all_noises(teacher, points_inputs(teacher, prepared=False), CONFIG))
    assert torch.allclose(ascents[0].score[:3], ascents[1].score[:3], atol=1e-4)


def test_a_gradient_made_anew_is_the_same_and_of_one_call_at_a_time(point_teacher):
    calls, noise = [], draw_noise(range(3), (2, 1, 1), seed=3)

    def gradient(**options):
        def counted(x_t, t, conditioning):
            calls.append(torch.is_grad_enabled())
            return point_teacher.denoiser(x_t, t, conditioning)

        counted.schedule = point_teacher.denoiser.schedule
        phi = Sampler("teacher", 0, Model(counted, (2, 1, 1)), num_steps=4, **options).phi([""] * 3)
        return noise_score_and_gradient(lambda z: (phi(z).sum(1), phi(z)), noise)[1]

    held = gradient()
    assert len(calls) == 8
    assert torch.equal(gradient(recompute=True), held)
    assert len(calls) == 8 + 8 + 4  # of two answers the first, the score, has a gradient


def test_memory_saved_changes_no_ascent(point_teacher):
    teacher = Sampler("teacher", 0, point_teacher, num_steps=4)
    saving = CONFIG.model_copy(update={"recompute": True, "batch_size": 4})
    ascents = [
        ascend_all_noises(teacher, points_inputs(teacher, prepared=False), config) for config in (CONFIG, saving)
    ]
    assert torch.allclose(ascents[0].score[:3], ascents[1].score[:3], atol=1e-4)


def test_a_constant_model_gains_nothing(point_teacher):
    teacher = Sampler("teacher", 0, point_teacher, num_steps=4)
    flat = Model(ExactDenoiser(torch.tensor([0.5, -0.2]).view(1, 2, 1, 1), CosineSchedule()), (2, 1, 1))
    answer = run_noise_optimisation(Sampler("gad", 0, flat, num_steps=1), points_inputs(teacher), CONFIG)
    numbers = summarise_noise_optimisation(answer.rows)
    for name in ("optimised_gain", "optimised_gain_per_step", "optimised_gain_teachers_noise"):
        assert numbers[name] == pytest.approx(0, abs=1e-6)


def test_the_score_of_a_picture_climbs_through_every_family(saved):
    sampler = Sampler("teacher", 0, load_model(saved), num_steps=2, guidance_scale=2.0)
    encoder, prompts = (
        load_clip_encoder(None),
        Prompts(["a red car on a white background", "a cat on a pink background"]),
    )
    noise = draw_noise(range(2), sampler.model.latent_shape, seed=0)
    inputs = Inputs(noise, prompts, encoder.texts(prompts.captions), encoder, None)
    ascent = ascend_all_noises(sampler, inputs, NoiseOptimisationConfig(num_prompts=2, iterations=2))
    assert (ascent.score[-1] > ascent.score[0]).all() and math.isfinite(ascent.score.sum())
    again = sampler.generate(ascent.noise[-1], prompts.captions)
    assert torch.allclose((encoder.images(again) * inputs.wanted).sum(1), ascent.score[-1], atol=1e-4)
