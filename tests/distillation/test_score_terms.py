"""GAD in the scores' space, as it is wired: which points, which directions, who gets a gradient."""

from dataclasses import replace

import pytest
import torch
from renoised import renoised_output

from gad.data.noise_pairs import NoisePairs
from gad.data.pair_generation import generate_noise_pairs
from gad.diffusion.guidance import Guided
from gad.distillation.batch import Batch, batch_random_generator
from gad.distillation.batch_source import draw_batch
from gad.distillation.losses import min_snr_weight
from gad.distillation.objective import build_objective
from gad.distillation.renoising import Renoised
from gad.distillation.score_terms import RELEASED_STEP, ScoreForm, released_score_term
from gad.models.mlp import build_point_network, point_denoiser
from gad.models.model import Model
from gad.models.pipelines import pipeline_denoiser
from gad.models.students import start_student

FORMS = ["score", "score_fixed", "released"]
H = 0.3  # of the smoke recipe's pairs


@pytest.fixture
def setting(point_teacher, point_pairs, smoke):
    student = start_student(point_teacher, smoke.student, seed=0)
    fake = point_denoiser(build_point_network(16, 2, seed=4))
    batch = draw_batch(point_pairs, None, student.schedule, variant="gad", batch_size=12, key=(0, 0))
    state = renoised_output(student, batch, batch_random_generator(0), student_steps=2, onward=True)
    return student, (point_teacher.denoiser, fake), batch, state


def difference(score, x, t, v):
    return (score(x + H * v, t, None) - score(x, t, None)) / H


def test_score_forms_ask_both_scores_at_the_unperturbed_states_along_the_pairs_or_the_answers_steps(setting):
    student, scores, batch, state = setting
    direction = (batch.noise[6:] - batch.noise[:6]) / H
    x_t, t = state.x_t[:6], state.t[:6]
    with torch.no_grad():
        real, fake = (difference(score, x_t, t, direction) for score in scores)
    base = {"total": torch.zeros(())}
    terms = ScoreForm("score", 1.7, 0.5).add_to(base, scores, student, batch, state, batch_random_generator(1))
    slow = ((fake - real) * x_t).flatten(1).mean(1) / 1.7
    assert torch.allclose(terms["score"], slow, rtol=1e-4, atol=1e-6)
    assert torch.allclose(terms["total"], 0.5 * slow.mean(), rtol=1e-4, atol=1e-6)
    fixed = ScoreForm("score_fixed", 1.7, 0.5).add_to(base, scores, student, batch, state, batch_random_generator(1))
    value, moved = student(batch.x_t, batch.t, None).chunk(2)
    own = (moved - value) / H
    with torch.no_grad():
        real, fake = (difference(score, x_t, t, student.schedule.alpha(t).view(-1, 1, 1, 1) * own) for score in scores)
    slow = ((fake - real) * own).flatten(1).mean(1) / 1.7
    assert torch.allclose(fixed["score_fixed"], slow, rtol=1e-3, atol=1e-5)


def test_the_released_term_compares_two_points_and_two_times(setting):
    student, scores, batch, state = setting
    v = torch.ones_like(state.x_t)
    moved = state.x_t.detach() + RELEASED_STEP * v / 2**0.5
    same = replace(state, x0=student(moved, state.t, None))  # only then is its student gap zero
    (gradient,) = torch.autograd.grad(
        released_score_term(scores, student, None, same, v).sum(), list(student.parameters())[:1], allow_unused=True
    )
    assert gradient.abs().max() < 1e-6
    assert released_score_term(scores, student, None, state, v).shape == (12,)


@pytest.mark.parametrize("form", ["score", "score_fixed"])
def test_in_sid_the_forms_vanish_when_the_fake_score_is_the_teacher_under_guidance(form, pipeline, smoke, tmp_path):
    teacher = Model(pipeline_denoiser(pipeline), (4, 8, 8), pipeline)
    changes = {"num_pairs": 2, "guidance_scale": 2.0, "teacher_steps": 2, "shard_size": 2, "directions_per_noise": 1}
    list(generate_noise_pairs(tmp_path, teacher, "hash", smoke.noise_pairs.model_copy(update=changes)))
    pairs, prompts = NoisePairs(tmp_path), teacher.condition(["a red car on a white background"] * 2)
    largest = {}
    for paradigm in ("sid", "tdm"):
        config = smoke.student.model_copy(update={"paradigm": paradigm})
        student = start_student(teacher, config, seed=0)
        objective = build_objective(teacher, student, pairs, config, variant=f"gad_{form}", seed=0)  # fake: a copy
        batch = draw_batch(pairs, prompts, student.schedule, variant="gad", batch_size=2, key=(0, 0))
        term = objective.terms(student, batch, batch_random_generator(0))[form].abs().max().item()
        largest[paradigm] = term * pairs.jvp_power()
    assert largest["sid"] < 1e-6 and largest["tdm"] > 1e-4  # TDM's fake score is not guided


def test_sids_fake_score_is_taught_under_the_guidance_with_which_it_is_asked(pipeline, smoke, tmp_path):
    teacher = Model(pipeline_denoiser(pipeline), (4, 8, 8), pipeline)
    changes = {"num_pairs": 2, "guidance_scale": 2.0, "teacher_steps": 2, "shard_size": 2, "directions_per_noise": 1}
    list(generate_noise_pairs(tmp_path, teacher, "hash", smoke.noise_pairs.model_copy(update=changes)))
    pairs, prompts = NoisePairs(tmp_path), teacher.condition(["a red car on a white background"] * 2)
    config = smoke.student.model_copy(update={"paradigm": "sid"})
    student = start_student(teacher, config, seed=0)
    sid = build_objective(teacher, student, pairs, config, variant="baseline", seed=0)
    batch = draw_batch(pairs, prompts, student.schedule, variant="baseline", batch_size=2, key=(0, 0))
    state = renoised_output(student, batch, batch_random_generator(0), student_steps=sid.student_steps, onward=False)
    plain, empty = (
        sid.fake(state.x_t, state.t, asked) for asked in (batch.conditioning, sid.teacher.uncond.repeated(2))
    )
    weight = min_snr_weight(student.schedule, state.t) * state.importance
    slow = weight * (empty + 2 * (plain - empty) - state.x0).square().flatten(1).mean(1)
    assert torch.allclose(sid.auxiliary_loss(student, batch, batch_random_generator(0)), slow, rtol=1e-3)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("paradigm", ["tdm", "sid"])
def test_only_the_student_gets_a_gradient(form, paradigm, point_teacher, point_pairs, smoke):
    config = smoke.student.model_copy(update={"paradigm": paradigm, "gad_weight": 0.5})
    student = start_student(point_teacher, config, seed=0)
    objective = build_objective(point_teacher, student, point_pairs, config, variant=f"gad_{form}", seed=0)
    objective.auxiliary.requires_grad_(False)
    batch = draw_batch(point_pairs, None, student.schedule, variant=f"gad_{form}", batch_size=8, key=(0, 0))
    terms = objective.terms(student, batch, batch_random_generator(0))
    assert form in terms
    terms["total"].backward()
    assert all(parameter.grad is None for parameter in objective.auxiliary.parameters())
    assert all(parameter.grad is not None for parameter in student.network.parameters())


@pytest.mark.parametrize("form", FORMS)
def test_weight_zero_is_noise_augmentation_bit_for_bit(form, point_teacher, point_pairs, smoke):
    config = smoke.student.model_copy(update={"paradigm": "tdm", "gad_weight": 0.0})
    totals = []
    for variant in ("noise_augmentation", f"gad_{form}"):
        student = start_student(point_teacher, config, seed=0)
        objective = build_objective(point_teacher, student, point_pairs, config, variant=variant, seed=0)
        batch = draw_batch(point_pairs, None, student.schedule, variant=variant, batch_size=8, key=(0, 0))
        totals.append(objective.terms(student, batch, batch_random_generator(0))["total"])
    assert torch.equal(*totals)


@pytest.mark.parametrize("form", FORMS)
def test_every_family_takes_every_form_under_guidance(form, pipeline, conditioning, noise):
    network = pipeline_denoiser(pipeline)
    noise, conditioning = noise[:2], conditioning[[0, 1]]
    t = torch.full((2,), 0.6)
    moved = noise + torch.tensor([0.0, H]).view(2, 1, 1, 1)
    prompts, rows = (conditioning, conditioning), torch.arange(2)
    batch = Batch(rows, noise, *[torch.ones(2)] * 2, noise, moved, noise, *prompts, torch.full((1,), H), rows, 2)
    state = Renoised(noise.clone().requires_grad_(True), noise.clone().requires_grad_(True), t, torch.ones(2))
    scores = (Guided(network, conditioning[[0]], 3.0), network)
    terms = ScoreForm(form, 1.0, 1.0).add_to(
        {"total": torch.zeros(())}, scores, network, batch, state, batch_random_generator(0)
    )
    assert torch.isfinite(terms[form]).all()
