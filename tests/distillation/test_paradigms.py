"""LADD, TDM and SiD as objectives: who is asked where, who gets a gradient, and that runs resume bit for bit."""

from dataclasses import replace

import pytest
import torch
from renoised import renoised_output

from gad.data.noise_pairs import NoisePairs
from gad.data.pair_generation import generate_noise_pairs
from gad.diffusion.guidance import Guided
from gad.diffusion.shapes import expand_per_sample
from gad.distillation.batch import batch_random_generator
from gad.distillation.batch_source import draw_batch
from gad.distillation.fake_score import fake_score_of
from gad.distillation.objective import build_objective
from gad.distillation.renoising import EARLIEST, MARGIN
from gad.distillation.train_students import train_student_seeds
from gad.distillation.trainable import teacher_copy_for_training
from gad.distillation.training_loop import train
from gad.models.mlp import build_point_network, point_denoiser
from gad.models.model import Model, load_model
from gad.models.pipelines import pipeline_denoiser
from gad.models.students import start_student
from gad.runtime.checkpoint import LAST, read_checkpoint

SCORES = ["tdm", "dmd2", "sid"]
PARADIGMS = ["ladd", *SCORES]


def build(paradigm, teacher, pairs, config, *, variant="baseline", **changes):
    config = config.model_copy(update={"paradigm": paradigm} | changes)
    student = start_student(teacher, config, seed=0)
    return build_objective(teacher, student, pairs, config, variant=variant, seed=0), student


def batch_of(pairs, student, *, variant="baseline", prompts=None, batch_size=8, step=0):
    return draw_batch(pairs, prompts, student.schedule, variant=variant, batch_size=batch_size, key=(0, step))


def gradients(network) -> list:
    return [parameter.grad for parameter in network.parameters()]


@pytest.mark.parametrize("paradigm", PARADIGMS)
def test_gradients_of_student_and_fake_score_never_mix(paradigm, point_teacher, point_pairs, smoke):
    objective, student = build(paradigm, point_teacher, point_pairs, smoke.student)
    batch = batch_of(point_pairs, student)
    objective.auxiliary_loss(student, batch, batch_random_generator(0)).mean().backward()
    assert all(g is None for g in gradients(student.network))
    assert all(g is not None for g in gradients(objective.auxiliary))
    objective.auxiliary.zero_grad()
    objective.auxiliary.requires_grad_(False)
    objective.terms(student, batch, batch_random_generator(0))["total"].backward()
    assert all(g is None for g in gradients(objective.auxiliary))
    assert all(g is not None for g in gradients(student.network))


@pytest.mark.parametrize("onward", [True, False])
def test_answers_are_renoised_between_data_and_their_node(onward, point_pairs):
    student = point_denoiser(build_point_network(16, 2, seed=0))
    batch = batch_of(point_pairs, student, batch_size=512)
    state = renoised_output(student, batch, batch_random_generator(0), student_steps=2, onward=onward)
    assert state.t.min() >= EARLIEST and state.t.max() <= 1 - MARGIN
    first = state.t > 0.5  # of both student steps, 1 and 1/2, only the first is re-noised to here
    assert 0.35 < first.float().mean() < 0.65 if onward else 0.15 < first.float().mean() < 0.35
    if not onward:  # from clean data the only noise is the noise that was added
        assert torch.allclose(state.importance, torch.ones_like(state.importance), atol=1e-3)


def test_with_one_node_the_answer_is_that_to_the_stored_noise(point_pairs):
    student = point_denoiser(build_point_network(16, 2, seed=0))
    batch = batch_of(point_pairs, student)
    state = renoised_output(student, batch, batch_random_generator(0), student_steps=1, onward=True)
    assert torch.equal(state.x0, student(batch.noise, torch.ones(8)))


@pytest.fixture(scope="module")
def one_node(point_teacher, smoke, tmp_path_factory):
    """The smoke recipe's noise pairs for a chain of one student step."""
    folder = tmp_path_factory.mktemp("one_node")
    list(generate_noise_pairs(folder, point_teacher, "hash", smoke.noise_pairs.model_copy(update={"student_steps": 1})))
    return NoisePairs(folder)


@pytest.mark.parametrize(("paradigm", "steps"), [("tdm", 1), ("dmd2", 1), ("dmd2", 2)])
def test_dmd2_and_tdm_with_one_step_have_the_gradient_of_dmd(
    paradigm, steps, point_teacher, one_node, point_pairs, smoke
):
    pairs = one_node if steps == 1 else point_pairs
    objective, student = build(paradigm, point_teacher, pairs, smoke.student)
    batch, parameters = batch_of(pairs, student), list(student.network.parameters())
    ours = torch.autograd.grad(objective.terms(student, batch, batch_random_generator(0))["total"], parameters)
    state = renoised_output(student, batch, batch_random_generator(0), student_steps=steps, onward=False)
    with torch.no_grad():
        real, fake = (score(state.x_t, state.t, None) for score in (objective.teacher, objective.fake))
        weight = 1 / (state.x0 - real).abs().flatten(1).mean(1)
        weighted_term = expand_per_sample(weight, real) * (fake - real)
    slow = torch.autograd.grad((weighted_term * state.x0).mean(), parameters)
    assert max(g.abs().max() for g in slow) > 1e-3
    for one, other in zip(ours, slow, strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-6)


def test_the_distance_of_tdm_follows_the_number_of_nodes_unless_the_recipe_names_it(
    point_teacher, point_pairs, one_node, smoke
):
    kinds = [build("tdm", point_teacher, pairs, smoke.student)[0].kind for pairs in (one_node, point_pairs)]
    assert kinds == ["mse", "pseudo_huber"]
    assert build("tdm", point_teacher, point_pairs, smoke.student, tdm_loss="mse")[0].kind == "mse"
    assert build("dmd2", point_teacher, point_pairs, smoke.student)[0].kind == "mse"


@pytest.mark.parametrize("paradigm", SCORES)
def test_no_gradient_when_the_fake_score_is_the_teacher(paradigm, point_teacher, point_pairs, smoke):
    objective, student = build(paradigm, point_teacher, point_pairs, smoke.student)
    same = replace(objective, teacher=objective.fake)
    same.terms(student, batch_of(point_pairs, student), batch_random_generator(0))["total"].backward()
    assert max(g.abs().max().item() for g in gradients(student.network)) < 1e-3  # rounding, divided by a small scale


@pytest.mark.parametrize("paradigm", PARADIGMS)
def test_weight_zero_is_the_base_loss_bit_for_bit(paradigm, point_teacher, point_pairs, smoke):
    weights = {"gad_weight": 0.0, "anchor_weight": 0.0}
    objective, student = build(paradigm, point_teacher, point_pairs, smoke.student, variant="gad_anchor", **weights)
    plain, _ = build(paradigm, point_teacher, point_pairs, smoke.student, variant="noise_augmentation")
    batch = batch_of(point_pairs, student, variant="gad")
    a, b = (o.terms(student, batch, batch_random_generator(0)) for o in (objective, plain))
    assert torch.equal(a["total"], b["total"]) and torch.equal(a["total"], a[paradigm].mean())


@pytest.mark.parametrize("paradigm", PARADIGMS)
def test_total_is_the_base_loss_and_the_weighted_terms_on_stored_pairs(paradigm, point_teacher, point_pairs, smoke):
    weights = {"gad_weight": 0.7, "anchor_weight": 0.2}
    objective, student = build(paradigm, point_teacher, point_pairs, smoke.student, variant="gad_anchor", **weights)
    batch = batch_of(point_pairs, student, variant="gad")
    terms = objective.terms(student, batch, batch_random_generator(0))
    by_hand = terms[paradigm].mean() + 0.7 * terms["gad"].mean() + 0.2 * terms["matching"].mean()
    assert torch.allclose(terms["total"], by_hand)
    gap = (student(batch.x_t, batch.t) - batch.target).square().flatten(1).mean(1)
    assert torch.allclose(terms["matching"], gap)


@pytest.mark.parametrize("paradigm", PARADIGMS)
def test_an_interrupted_run_ends_with_the_same_bits(paradigm, point_teacher, point_pairs, smoke, tmp_path):
    config = smoke.student.model_copy(
        update={"paradigm": paradigm, "log_every": 1, "seeds": [0], "auxiliary_updates": 2}
    )

    def run(name):
        folder = tmp_path / name
        live = tmp_path / "live" / name
        return train_student_seeds(
            point_teacher, point_pairs, config, variant="gad_anchor", folder=folder, live=live
        ), folder

    def contents(folder):
        return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}

    whole, folder = run("whole")
    terms = [state.terms for _, state in whole]
    assert {paradigm, "auxiliary", "gad", "matching", "total"} == set(terms[0])
    broken, other = run("broken")
    for _ in range(8):
        next(broken)
    broken.close()
    list(run("broken")[0])
    assert contents(other) == contents(folder)


def test_the_auxiliary_losss_scaler_goes_on_where_a_broken_float16_run_left_it(
    point_teacher, point_pairs, smoke, tmp_path
):
    updates = []
    for steps in (8, 9):  # checkpoints come every five; the second run begins after step 5 and ends after 14
        objective, student = build("tdm", point_teacher, point_pairs, smoke.student)
        config = smoke.student.model_copy(update={"dtype": "float16", "log_every": 1, "auxiliary_updates": 2})
        run = train(student, objective, point_pairs, None, config, variant="baseline", seed=0, folder=tmp_path)
        for _ in range(steps):
            next(run)
        run.close()
        updates.append(read_checkpoint(tmp_path / LAST)["auxiliary_scaler"]["_growth_tracker"])
    assert updates == [2 * 5, 2 * 10]  # updates without an overflow


@pytest.mark.slow_for("dmd2", "sid")
@pytest.mark.parametrize("paradigm", PARADIGMS)
def test_the_students_points_come_onto_the_teachers_roll(paradigm, point_teacher, smoke, tmp_path):
    changes = {"student_steps": 1, "num_pairs": 256}
    list(generate_noise_pairs(tmp_path / "pairs", point_teacher, "hash", smoke.noise_pairs.model_copy(update=changes)))
    pairs = NoisePairs(tmp_path / "pairs")
    update = {"paradigm": paradigm, "num_steps": 400, "batch_size": 64, "hidden": 64, "seeds": [0]}
    update |= dict.fromkeys(("log_every", "checkpoint_every"), 400)
    config = smoke.student.model_copy(update=update)
    folder = tmp_path / "students"
    list(train_student_seeds(point_teacher, pairs, config, variant="baseline", folder=folder, live=tmp_path / "live"))
    noise = torch.randn(256, 2, 1, 1, generator=torch.Generator().manual_seed(9))
    points = point_teacher.denoiser.points.flatten(1)

    def distance(student):
        answer = student(noise, torch.ones(256)).flatten(1).detach()
        return torch.cdist(answer, points).min(1).values.median().item()

    before = distance(start_student(point_teacher, config, seed=0))
    assert distance(load_model(folder / "seed_0").denoiser) < before / 2


@pytest.mark.parametrize("paradigm", PARADIGMS)
def test_every_family_takes_every_paradigm(paradigm, pipeline, smoke, tmp_path):
    denoiser = pipeline_denoiser(pipeline)
    teacher = Model(denoiser, (4, 8, 8), pipeline)
    changes = {"num_pairs": 2, "guidance_scale": 2.0, "teacher_steps": 2, "shard_size": 2, "directions_per_noise": 1}
    list(generate_noise_pairs(tmp_path, teacher, "hash", smoke.noise_pairs.model_copy(update=changes)))
    pairs = NoisePairs(tmp_path)
    objective, student = build(paradigm, teacher, pairs, smoke.student, variant="gad")
    student.network.train().requires_grad_(True)
    if paradigm in SCORES:
        assert isinstance(objective.teacher, Guided) and objective.fake.network is not denoiser.network
    prompts = teacher.condition(["a red car on a white background"] * 2)
    batch = batch_of(pairs, student, variant="gad", prompts=prompts, batch_size=2)
    objective.auxiliary.requires_grad_(False)
    terms = objective.terms(student, batch, batch_random_generator(0))
    terms["total"].backward()
    assert all(term.isfinite().all() for term in terms.values())
    assert all(g is None for g in gradients(denoiser.network)) and any(
        g is not None for g in gradients(student.network)
    )


@pytest.mark.parametrize("paradigm", PARADIGMS)
def test_other_samples_prompts_are_drawn_for_ladd_alone(paradigm, pipeline, smoke, tmp_path, monkeypatch):
    teacher = Model(pipeline_denoiser(pipeline), (4, 8, 8), pipeline)
    changes = {"num_pairs": 4, "guidance_scale": 2.0, "teacher_steps": 2, "shard_size": 4, "directions_per_noise": 1}
    list(generate_noise_pairs(tmp_path / "pairs", teacher, "hash", smoke.noise_pairs.model_copy(update=changes)))
    pairs = NoisePairs(tmp_path / "pairs")
    prompts = teacher.condition(["a red car", "a dog", "a blue cat", "a tree"])
    config = smoke.student.model_copy(update={"paradigm": paradigm, "num_steps": 1, "batch_size": 4})
    student = start_student(teacher, config, seed=0)
    objective, seen = (
        build_objective(teacher_copy_for_training(teacher, config), student, pairs, config, variant="gad", seed=0),
        [],
    )
    terms = type(objective).terms
    monkeypatch.setattr(type(objective), "terms", lambda self, *given: seen.append(given[1]) or terms(self, *given))
    list(train(student, objective, pairs, prompts, config, variant="gad", seed=0, folder=tmp_path))
    (batch,) = seen
    assert torch.equal(batch.conditioning.prompt_embeds, prompts.prompt_embeds[batch.ids])
    assert (batch.others is None) == (paradigm != "ladd")
    if batch.others is not None:
        assert torch.equal(batch.others.prompt_embeds, prompts.prompt_embeds[batch.ids.roll(1)])


def test_the_fake_score_starts_as_a_copy_of_the_teacher(pipeline):
    denoiser = pipeline_denoiser(pipeline)
    fake = fake_score_of(denoiser, denoiser, seed=0)
    ours, theirs = fake.network.state_dict(), denoiser.network.state_dict()
    assert fake.network is not denoiser.network
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
