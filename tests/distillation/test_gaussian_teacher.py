"""On a Gaussian teacher every map is a slope: where each base loss rests, and which target of GAD agrees with it."""

import math
from dataclasses import replace

import pytest
import torch
from reference.gaussian_teacher import Chain, S, deviation, fake_slope, renoise_factors, teacher_slope
from torch import nn

from gad.diffusion.denoiser import NetworkDenoiser
from gad.diffusion.sampling import x0_of_ddim_step
from gad.diffusion.schedule import FlowSchedule
from gad.diffusion.shapes import expand_per_sample
from gad.distillation.batch import Batch, batch_random_generator
from gad.distillation.gad_loss import gad_response_loss
from gad.distillation.losses import matching_loss
from gad.distillation.pair_terms import pair_term_response
from gad.distillation.renoising import renoised_rollout, student_rollout
from gad.distillation.sid import sid_loss
from gad.distillation.targets import ComparedOutput, end_to_end_output, with_target
from gad.distillation.tdm import tdm_loss

CHAIN = Chain(4)
TABLE = {  # GAD's loss where the base loss rests; 1 is a student without any response in the first step
    ("ladd", "next_state"): 0.0,
    ("ladd", "endpoint"): 0.184,
    ("ladd", "end_to_end"): 0.0,
    ("tdm", "next_state"): 0.060,
    ("tdm", "endpoint"): 0.342,
    ("tdm", "end_to_end"): 0.0,
    ("dmd2", "next_state"): 0.443,
    ("dmd2", "endpoint"): 0.155,
    ("dmd2", "end_to_end"): 0.0,
    ("sid", "next_state"): 0.443,
    ("sid", "endpoint"): 0.155,
    ("sid", "end_to_end"): 0.0,
}


class Slopes(nn.Module):
    """x0 = a_k x at sampling step k."""

    def __init__(self, slopes: list[float]):
        super().__init__()
        self.slopes = nn.Parameter(torch.tensor(slopes, dtype=torch.float64))

    def forward(self, x, timestep):
        step = ((1 - timestep / 1000) * len(self.slopes)).round().long()
        return expand_per_sample(self.slopes[step], x) * x


def student_of(slopes: list[float]) -> NetworkDenoiser:
    return NetworkDenoiser(Slopes(slopes), lambda network, x, t, _: network(x, t), FlowSchedule(), "x0")


def batch_of(noise, *, x_t=None, t=None, target=None, h=None) -> Batch:
    rows, ones = torch.arange(len(noise)), torch.ones(len(noise), dtype=noise.dtype)
    t = ones if t is None else t
    x_t, target = (noise if part is None else part for part in (x_t, target))
    return Batch(rows, x_t, t, t, target, noise, S * noise, None, None, h, rows, len(rows))


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_target_slopes_are_those_of_the_stored_trajectories():
    assert CHAIN.target("next_state") == pytest.approx([0.041, 0.206, 0.612, 1.109], abs=5e-4)
    noise, times = normal(3, 2, 1, 1), torch.tensor(CHAIN.times, dtype=torch.float64)
    for k, slope in enumerate(CHAIN.target("next_state")):
        t, t_next = (times[i].expand(3) for i in (k, k + 1))
        x_t, x_next = (deviation(float(u[0])) * noise for u in (t, t_next))
        assert torch.allclose(x0_of_ddim_step(FlowSchedule(), x_t, x_next, t, t_next), slope * x_t)
        assert S * noise.numpy() == pytest.approx(CHAIN.target("endpoint")[k] * x_t.numpy())


def test_where_the_base_losses_rest():
    wanted = CHAIN.target("next_state")
    tdm, sid = CHAIN.rest("tdm", weight="scaled"), CHAIN.rest("sid")
    assert [a / b for a, b in zip(tdm, wanted, strict=True)] == pytest.approx([2.0, 1.45, 1.26, 0.86], abs=5e-3)
    assert [a / b for a, b in zip(sid, wanted, strict=True)] == pytest.approx([12.1, 2.8, 1.1, 0.7], abs=0.03)
    assert sid[0] == pytest.approx(0.5)
    for slopes in (tdm, sid, CHAIN.target("next_state")):
        assert CHAIN.states(slopes)[-1] == pytest.approx(S, abs=2e-3)  # all end with the data's law
    assert CHAIN.rest("tdm", dimensions=1) == pytest.approx(sid)  # where the importance weights do what they are for
    assert CHAIN.rest("tdm", dimensions=2)[0] / wanted[0] == pytest.approx(2.7, abs=0.01)


@pytest.mark.parametrize(("paradigm", "target"), TABLE)
def test_which_target_has_its_minimum_where_the_base_loss_rests(paradigm, target):
    assert CHAIN.gad_at_rest(paradigm, target) == pytest.approx(TABLE[paradigm, target], abs=1e-3)


def test_with_one_step_all_targets_and_base_losses_agree():
    one = Chain(1)
    for paradigm in ("ladd", "tdm", "dmd2", "sid"):
        for target in ("next_state", "endpoint", "end_to_end"):
            assert one.gad_at_rest(paradigm, target) == pytest.approx(0, abs=1e-9)


def slope_gradients(slopes, *, shape, dimensions):
    """Mean and standard error of TDM's gradient on each slope, from the project's own rollout, re-noising and loss."""
    student, noise = student_of(slopes), normal(*shape)
    batch, states = batch_of(noise), CHAIN.states(slopes)
    rollout = student_rollout(student, batch, batch_random_generator(1), student_steps=4, shortest=True)
    state = renoised_rollout(rollout, student.schedule, batch, batch_random_generator(2), onward=True)
    node = ((1 - rollout.t) * 4).round().long().tolist()
    real = torch.tensor([teacher_slope(t) for t in state.t.tolist()], dtype=torch.float64)
    fake = []
    for k, t in zip(node, state.t.tolist(), strict=True):
        q, m, mid = slopes[k] * states[k], states[k + 1], CHAIN.times[k + 1]
        fake.append(fake_slope(q, m, *renoise_factors(mid, t), t, dimensions))
    real, fake = (expand_per_sample(slope, noise) * state.x_t for slope in (real, torch.tensor(fake).double()))
    residual = (state.importance * ((state.x0 - fake) * fake).flatten(1).mean(1)).detach()
    (gradient,) = torch.autograd.grad(tdm_loss(state.x0, real, fake).sum(), state.x0)
    each = (gradient * rollout.x_t).flatten(1).sum(1).detach()
    groups = [torch.tensor(node) == k for k in range(4)]

    def score(values):
        return [(values[here].mean() / (values[here].std() / here.sum() ** 0.5)).item() for here in groups]

    return score(each), score(residual)


def test_the_projects_tdm_has_no_gradient_at_its_rest_and_one_at_the_targets():
    shape, dimensions = (16384, 1, 8, 8), 64
    rest = CHAIN.rest("tdm", dimensions=dimensions, weight="scaled")
    gradients, residuals = slope_gradients(rest, shape=shape, dimensions=dimensions)
    assert max(map(abs, gradients)) < 4 and max(map(abs, residuals)) < 4  # standard errors
    gradients, _ = slope_gradients(CHAIN.target("next_state"), shape=shape, dimensions=dimensions)
    assert max(gradients[:2]) < -10  # it wants larger slopes there


def test_the_fake_score_of_two_dimensions_is_the_best_one_under_the_projects_importance_weights():
    slopes = CHAIN.rest("tdm", dimensions=2)
    _, residuals = slope_gradients(slopes, shape=(100_000, 2, 1, 1), dimensions=2)
    assert max(map(abs, residuals)) < 4
    _, unweighted = slope_gradients(slopes, shape=(100_000, 2, 1, 1), dimensions=math.inf)
    assert max(map(abs, unweighted)) > 6


@pytest.mark.parametrize("loss", [sid_loss, tdm_loss])
def test_the_projects_sid_and_dmd2_have_no_gradient_at_their_rest(loss):
    slopes = CHAIN.rest("sid")
    student, batch = student_of(slopes), batch_of(normal(20_000, 1, 1, 1))
    rollout = student_rollout(student, batch, batch_random_generator(1), student_steps=4)
    state = renoised_rollout(rollout, student.schedule, batch, batch_random_generator(2), onward=False)
    for t in rollout.t.unique():  # every step's x0 has the data's law, so the best fake score is the teacher
        assert rollout.x0[rollout.t == t].std().item() == pytest.approx(S, rel=0.03)
    assert fake_slope(S, S, 0.4, 0.6, 0.6, math.inf) == pytest.approx(teacher_slope(0.6))
    y = expand_per_sample((1 - state.t) * S**2 / ((1 - state.t) ** 2 * S**2 + state.t**2), state.x_t) * state.x_t
    (gradient,) = torch.autograd.grad(loss(state.x0, y, y).sum(), student.network.slopes)
    assert gradient.abs().max() < 1e-12


@pytest.mark.parametrize("gradient", ["last_call", "all_calls"])
@pytest.mark.parametrize("paradigm", ["tdm", "dmd2", "sid"])
def test_end_to_end_gad_and_anchor_vanish_where_the_base_loss_rests(paradigm, gradient):
    student = student_of(CHAIN.rest(paradigm))
    z, v, h = normal(5, 2, 1, 1), normal(5, 2, 1, 1, seed=1), 0.3
    batch = with_target(batch_of(torch.cat([z, z + h * v]), h=torch.full((5,), h)), "end_to_end")
    output = ComparedOutput("end_to_end", 4, gradient)(student, batch)
    ours, theirs = (pair_term_response(x0, batch.pair_steps) for x0 in (output, batch.target))
    loss = gad_response_loss(ours, theirs).mean() + matching_loss(output, batch.target).mean()
    (on_slopes,) = torch.autograd.grad(loss, student.network.slopes)
    assert loss < 1e-5 and on_slopes.abs().max() < 0.01


def test_the_gradient_of_all_calls_is_that_of_finite_differences_and_the_last_calls_its_last_part():
    slopes, noise, step = [0.3, 0.5, 0.7, 0.9], normal(6, 2, 1, 1), 1e-6

    def loss(values, gradient="all_calls"):
        student = student_of(values)
        output = end_to_end_output(student, batch_of(noise), student_steps=4, gradient=gradient)
        return output.square().mean(), student.network.slopes

    whole, last = (torch.autograd.grad(*loss(slopes, kind))[0] for kind in ("all_calls", "last_call"))
    for k in range(4):
        moved = [[a + sign * step * (i == k) for i, a in enumerate(slopes)] for sign in (1, -1)]
        slow = (loss(moved[0])[0] - loss(moved[1])[0]).item() / (2 * step)
        assert whole[k].item() == pytest.approx(slow, rel=1e-6)
        assert last[k].item() == pytest.approx(slow if k == 3 else 0, rel=1e-6)


def test_other_targets_compare_the_output_at_the_state():
    student, noise = student_of([0.3, 0.5, 0.7, 0.9]), normal(4, 2, 1, 1)
    batch = batch_of(noise, x_t=2 * noise, t=torch.tensor([1.0, 0.75, 0.5, 0.25]).double(), target=3 * noise)
    for target in ("next_state", "endpoint"):
        output = ComparedOutput(target, 4)(student, batch)
        assert torch.equal(output, student(batch.x_t, batch.t, None))
    assert torch.equal(with_target(batch, "next_state").target, 3 * noise)
    assert torch.equal(with_target(batch, "endpoint").target, replace(batch).endpoint)
