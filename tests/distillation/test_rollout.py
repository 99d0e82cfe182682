"""The rollout that student and fake score share, the warm-up of the auxiliary network, and LADD's released loss."""

from dataclasses import fields, replace

import pytest
import torch
from renoised import renoised_output
from torch.nn import functional as F

from gad.config import StudentConfig
from gad.data.noise_pairs import NoisePairs
from gad.data.pair_generation import generate_noise_pairs
from gad.diffusion.denoiser import NetworkDenoiser
from gad.distillation.batch import batch_random_generator
from gad.distillation.batch_source import draw_batch
from gad.distillation.objective import build_objective
from gad.distillation.renoising import renoised_rollout, student_rollout
from gad.distillation.training_loop import train
from gad.models.students import start_student

STEPS = 4


@pytest.fixture(scope="module")
def pairs(point_teacher, smoke, tmp_path_factory):
    folder = tmp_path_factory.mktemp("four_steps")
    config = smoke.noise_pairs.model_copy(update={"student_steps": STEPS})
    list(generate_noise_pairs(folder, point_teacher, "hash", config))
    return NoisePairs(folder)


def counted(teacher, config):
    """A student, and the sizes of its calls with and without a gradient."""
    sizes, plain = [], start_student(teacher, config, seed=0)

    def call(network, x_t, timestep, conditioning):
        if network is plain.network:  # and not the fake score, its copy
            sizes.append((len(x_t), torch.is_grad_enabled()))
        return plain.call(network, x_t, timestep, conditioning)

    return NetworkDenoiser(plain.network, call, plain.schedule, plain.parameterisation), sizes


def batch_of(pairs, student, size=32):
    return draw_batch(pairs, None, student.schedule, variant="baseline", batch_size=size, key=(0, 0))


def test_walking_to_the_drawn_step_alone_gives_the_same_states_by_fewer_calls(point_teacher, pairs, smoke):
    student, sizes = counted(point_teacher, smoke.student)
    batch, work = batch_of(pairs, student), []
    found = []
    for shortest in (False, True):
        sizes.clear()
        generator = batch_random_generator(0)
        found.append(student_rollout(student, batch, generator, student_steps=STEPS, shortest=shortest))
        work.append(sum(size for size, gradient in sizes if not gradient))
    assert torch.allclose(found[0].x_t, found[1].x_t, atol=1e-6) and torch.allclose(found[0].x0, found[1].x0, atol=1e-6)
    assert torch.equal(found[0].t, found[1].t)
    before = (STEPS * (1 - found[0].t)).round()
    assert work == [(STEPS - 1) * 32, int(before.sum())]


@pytest.mark.parametrize("onward", [True, False])
def test_a_renoised_output_is_a_rollout_that_is_renoised(onward, point_teacher, pairs, smoke):
    student, _ = counted(point_teacher, smoke.student)
    batch, generator = batch_of(pairs, student), batch_random_generator(0)
    whole = renoised_output(student, batch, batch_random_generator(0), student_steps=STEPS, onward=onward)
    rollout = student_rollout(student, batch, generator, student_steps=STEPS)
    parts = renoised_rollout(rollout, student.schedule, batch, generator, onward=onward)
    assert all(torch.equal(getattr(whole, name), getattr(parts, name)) for name in ("x0", "x_t", "t", "importance"))


@pytest.mark.parametrize("paradigm", ["tdm", "dmd2", "sid"])
def test_sharing_leaves_both_losses_what_they_are(paradigm, point_teacher, pairs, smoke):
    config = StudentConfig(**smoke.student.model_dump() | {"paradigm": paradigm, "rollout": "shared"})
    student, sizes = counted(point_teacher, config)
    objective = build_objective(point_teacher, student, pairs, config, variant="baseline", seed=0)
    plain, batch = replace(objective, shared=False), batch_of(pairs, student)
    assert plain.rollout(student, batch, batch_random_generator(0)) is None
    rollout = objective.rollout(student, batch, batch_random_generator(0))
    sizes.clear()
    given = (student, batch, batch_random_generator(1), rollout)
    objective.auxiliary_loss(*given)
    objective.terms(*given)
    assert not sizes  # the student is not called again
    # the same draws in one generator: first the step, then what is re-noised
    generator = batch_random_generator(0)
    slow = plain.terms(student, batch, generator)[paradigm]
    generator = batch_random_generator(0)
    objective.rollout(student, batch, generator)
    assert torch.allclose(objective.terms(student, batch, generator, rollout)[paradigm], slow, rtol=1e-4)
    assert not rollout.detached().x0.requires_grad and rollout.x0.requires_grad


@pytest.mark.parametrize(("steps", "separate", "shared"), [(4, 8, 5), (2, 4, 3)])
def test_ladds_updates_share_the_way_to_the_last_state_to_the_bit(
    steps, separate, shared, point_teacher, pairs, point_pairs, smoke
):
    config = StudentConfig(**smoke.student.model_dump() | {"paradigm": "ladd", "regression_weight": 1.0})
    (student, sizes), own = counted(point_teacher, config), pairs if steps == STEPS else point_pairs
    objective = build_objective(point_teacher, student, own, config, variant="gad", seed=0)
    batch, found = batch_of(own, student), []
    for rollout in (False, True):
        sizes.clear()
        given = (student, batch, batch_random_generator(1))
        last = (objective.rollout(*given),) if rollout else ()
        found.append(objective.auxiliary_loss(*given, *last))
        student.network.zero_grad()
        terms = replace(objective, stored=replace(objective.stored, gad_weight=0.0)).terms(*given, *last)
        terms["total"].backward()
        found.append(terms["ladd"].detach())
        found += [parameter.grad.clone() for parameter in student.parameters()]
        assert len(sizes) == (shared if rollout else separate)
    half = len(found) // 2
    assert all(torch.equal(a, b) for a, b in zip(found[:half], found[half:], strict=True))


def test_a_ladd_training_walks_once_a_step_and_part_and_once_an_update_of_the_warm_up(
    point_teacher, pairs, smoke, tmp_path
):
    changes = {"paradigm": "ladd", "num_steps": 4, "accumulate": 2, "auxiliary_updates": 2, "auxiliary_warmup": 3}
    config = StudentConfig(**smoke.student.model_dump() | changes | {"log_every": 100})
    student, sizes = counted(point_teacher, config)
    objective = build_objective(point_teacher, student, pairs, config, variant="baseline", seed=0)
    list(train(student, objective, pairs, None, config, variant="baseline", seed=0, folder=tmp_path))
    steps, warm_up, log = 2 * 4 * (STEPS - 1 + 2 + 1), 2 * 3 * STEPS, 32 // (smoke.student.batch_size // 2)
    assert sum(gradient for _, gradient in sizes) == 2 * 4
    assert len([size for size, _ in sizes if size == smoke.student.batch_size // 2]) >= steps + warm_up
    assert len(sizes) <= steps + warm_up + log


def calls_of_steps(point_teacher, pairs, smoke, folder, **changes):
    config = StudentConfig(**smoke.student.model_dump() | {"paradigm": "tdm", "num_steps": 4} | changes)
    student, sizes = counted(point_teacher, config)
    objective = build_objective(point_teacher, student, pairs, config, variant="baseline", seed=0)
    list(train(student, objective, pairs, None, config, variant="baseline", seed=0, folder=folder))
    return sizes, objective


def test_the_drawn_steps_of_a_shared_rollout_do_not_follow_the_drawn_noises(point_teacher, pairs, smoke, tmp_path):
    config = StudentConfig(**smoke.student.model_dump() | {"paradigm": "tdm", "rollout": "shared", "num_steps": 30})
    student = start_student(point_teacher, config, seed=0)
    objective, seen = build_objective(point_teacher, student, pairs, config, variant="baseline", seed=0), {}

    class Noted(type(objective)):
        def terms(self, student, batch, generator, rollout):
            for number, t in zip(batch.ids.tolist(), rollout.t.tolist(), strict=True):
                seen.setdefault(number, set()).add(t)
            return super().terms(student, batch, generator, rollout)

    noted = Noted(**{field.name: getattr(objective, field.name) for field in fields(objective)})
    list(train(student, noted, pairs, None, config, variant="baseline", seed=0, folder=tmp_path))
    assert sum(len(times) for times in seen.values()) / len(seen) > 2.5  # of 4: each noise is used about seven times


def test_a_shared_step_calls_the_student_a_third_as_often(point_teacher, pairs, smoke, tmp_path):
    work = {}
    for rollout in ("separate", "shared"):
        sizes, _ = calls_of_steps(point_teacher, pairs, smoke, tmp_path / rollout, rollout=rollout, num_steps=20)
        work[rollout] = sum(size for size, _ in sizes) / 20 / smoke.student.batch_size
    monitored = 0.4  # of a batch: it logs four times, on 32 samples each
    assert work["separate"] == pytest.approx(8 + monitored) and work["shared"] == pytest.approx(
        2.5 + monitored, abs=0.3
    )


def test_the_warm_up_trains_the_fake_score_alone(point_teacher, pairs, smoke, tmp_path):
    config = StudentConfig(**smoke.student.model_dump() | {"paradigm": "tdm", "num_steps": 1, "lr": 1e-12})
    weights, losses = {}, {}
    for steps in (0, 200):
        one = config.model_copy(update={"auxiliary_warmup": steps, "auxiliary_lr_ratio": 1e9, "log_every": 1})
        student = start_student(point_teacher, one, seed=0)
        objective = build_objective(point_teacher, student, pairs, one, variant="baseline", seed=0)
        folder = tmp_path / str(steps)
        (state,) = train(student, objective, pairs, None, one, variant="baseline", seed=0, folder=folder)
        weights[steps] = torch.cat([p.flatten() for p in student.network.parameters()])
        losses[steps] = state.terms["auxiliary"]
    assert torch.allclose(weights[0], weights[200], atol=1e-9)  # the student has made one step of no size
    assert losses[200] < 0.7 * losses[0]


def test_ladd_at_regression_weight_1_is_the_released_codes_loss(point_teacher, pairs, smoke):
    """binary_cross_entropy_with_logits(D(fake), 1) + 1.0 · smooth_l1_loss(x0, latents), means over everything."""
    config = StudentConfig(**smoke.student.model_dump() | {"paradigm": "ladd", "regression_weight": 1.0})
    student = start_student(point_teacher, config, seed=0)
    objective = build_objective(point_teacher, student, pairs, config, variant="baseline", seed=0)
    batch, parameters = batch_of(pairs, student), list(student.network.parameters())
    batch = replace(batch, endpoint=4 * batch.endpoint)  # on both sides of the bend of smooth-L1
    ours = objective.terms(student, batch, batch_random_generator(0))["total"]
    x0 = objective._output(student, batch)
    logits = objective._logits(x0, batch, None, batch_random_generator(0))
    adversarial = F.binary_cross_entropy_with_logits(logits, torch.ones_like(logits))
    slow = adversarial + 1.0 * F.smooth_l1_loss(x0, batch.endpoint)
    assert ((x0 - batch.endpoint).abs() > 1).any() and ((x0 - batch.endpoint).abs() < 1).any()
    assert torch.allclose(ours, slow, rtol=1e-6)
    for one, other in zip(*(torch.autograd.grad(loss, parameters) for loss in (ours, slow)), strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-7)
    real = objective._logits(batch.endpoint, batch, None, generator := batch_random_generator(1))
    fake = objective._logits(x0.detach(), batch, None, generator)
    discriminator = F.binary_cross_entropy_with_logits(real, torch.ones_like(real))
    discriminator = discriminator + F.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))
    found = objective.auxiliary_loss(student, batch, batch_random_generator(1)).mean()
    assert torch.allclose(found, discriminator, rtol=1e-5)
