"""What is monitored while training: true numbers that change nothing."""

from dataclasses import replace

import pytest
import torch

from gad.distillation.batch_source import draw_batch
from gad.distillation.monitor import PROBE_PAIRS, Monitor, gradient_norms, probe_part
from gad.distillation.pair_terms import Alignment
from gad.distillation.regression import Matching
from gad.distillation.training_log import append_log_row
from gad.distillation.training_loop import TrainState
from gad.models.mlp import build_point_network, point_denoiser


@pytest.fixture
def student():
    return point_denoiser(build_point_network(16, 2, seed=0))


@pytest.fixture
def monitor(point_pairs, student):
    return Monitor(point_pairs, None, student.schedule)


class Answers:
    """Gives prepared answers to the monitor's batch."""

    def __init__(self, x0, schedule):
        self.x0, self.schedule = x0, schedule

    def __call__(self, x_t, t, conditioning):
        return self.x0


@pytest.mark.parametrize(("factor", "cosine", "gain"), [(1.0, 1, 1), (0.5, 1, 0.5), (-2.0, -1, 2)])
def test_the_probe_sees_a_scaled_response_and_no_offset(monitor, student, factor, cosine, gain):
    value, moved = monitor.batch.target.chunk(2)
    answers = torch.cat([value + 3, value + 3 + factor * (moved - value)])
    seen = monitor.measure(Answers(answers, student.schedule))
    assert seen == {
        "monitor_jvp_cosine": pytest.approx(cosine, abs=1e-3),
        "monitor_gain": pytest.approx(gain, abs=1e-3),
    }


def test_the_probe_holds_the_first_pairs_at_the_first_node(monitor, point_pairs):
    assert monitor.batch.t.eq(1).all() and len(monitor.batch.t) == 2 * PROBE_PAIRS
    assert monitor.batch.ids.tolist() == [*range(PROBE_PAIRS)] * 2
    assert torch.equal(monitor.batch.x_t[PROBE_PAIRS:], point_pairs.trajectories(torch.arange(PROBE_PAIRS), 1)[:, 0])


def test_a_batch_that_is_computed_in_parts_is_monitored_in_such_parts_with_the_same_numbers(
    point_pairs, student, monitor, smoke
):
    whole = smoke.student.model_copy(update={"batch_size": 64, "accumulate": 1})
    parted = whole.model_copy(update={"accumulate": 16})
    assert (probe_part(whole), probe_part(parted)) == (PROBE_PAIRS, 2)
    calls = []
    original = student.network.forward
    student.network.forward = lambda *given, **named: calls.append(len(given[0])) or original(*given, **named)
    few = Monitor(point_pairs, None, student.schedule, part=probe_part(parted)).measure(student)
    assert calls == [4] * (PROBE_PAIRS // 2)
    assert few == pytest.approx(monitor.measure(student), rel=1e-4)
    assert calls[-1] == 2 * PROBE_PAIRS


def test_gradient_norms_are_those_of_each_term_alone(point_pairs, student):
    alignment = Alignment(jvp_power=1.7, kind="mse")
    batch = draw_batch(point_pairs, None, student.schedule, variant="gad", batch_size=8, key=(0, 0))
    parameters = list(student.parameters())
    terms = Matching(alignment, 0.5).terms(student, batch, torch.Generator())
    norms = gradient_norms(terms | {"auxiliary": torch.ones(3)}, parameters)
    assert set(norms) == {"gradient_norm_matching", "gradient_norm_gad"}
    for name in ("matching", "gad"):
        student.zero_grad()
        Matching(alignment, 0.5).terms(student, batch, torch.Generator())[name].mean().backward()
        slow = sum((p.grad**2).sum().item() for p in parameters if p.grad is not None) ** 0.5
        assert norms[f"gradient_norm_{name}"] == pytest.approx(slow, rel=1e-4)
    terms["total"].backward()  # the graph is still there


def test_terms_that_are_not_there_at_every_step_leave_gaps_in_the_log(tmp_path):
    state = TrainState(10, {"tdm": 1.0}, {"monitor_gain": 0.5}, 0.1, 1.0)
    append_log_row(tmp_path / "log.csv", 0, state)
    append_log_row(tmp_path / "log.csv", 0, replace(state, step=20, terms={"tdm": 1.0, "gad": 2.0}))
    header, first, second = (tmp_path / "log.csv").read_text().splitlines()
    assert header == "seed,step,learning_rate,gradient_norm,tdm,monitor_gain,gad"
    assert first == "0,10,0.1,1,1,0.5," and second == "0,20,0.1,1,1,0.5,2"
