"""Controls and time windows: what GAD is compared with, and where it acts."""

import math
from dataclasses import replace

import pandas as pd
import pytest
import torch

from gad.config import StudentConfig
from gad.diffusion.denoiser import NetworkDenoiser
from gad.diffusion.jvp import Response
from gad.diffusion.schedule import CosineSchedule
from gad.distillation.batch_source import draw_batch
from gad.distillation.gad_loss import gad_response_loss
from gad.distillation.objective import build_objective
from gad.distillation.pair_terms import (
    LARGEST,
    Alignment,
    Stored,
    pair_term_diversity_loss,
    pair_term_random_gradient_loss,
)
from gad.distillation.regression import Matching
from gad.distillation.time_window import TimeWindow
from gad.distillation.training_loop import num_training_steps
from gad.metrics.summary import summary_against
from gad.models.mlp import build_point_network, point_denoiser
from gad.models.students import start_student

ALIGNMENT = Alignment(jvp_power=1.7, kind="mse")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def jvps():
    draw = generator(3)
    student, teacher, r = (torch.randn(5, 2, 3, 3, generator=draw, dtype=torch.float64) for _ in range(3))
    return student.requires_grad_(True), teacher, r


def response(jvp):
    return Response(torch.zeros_like(jvp), jvp)


def test_diversity_is_minus_the_relative_size_of_the_response(jvps):
    student, _, _ = jvps
    slow = [-((sum(x * x for x in row) / len(row) / 0.4) ** 0.5) for row in student.detach().flatten(1).tolist()]
    loss = pair_term_diversity_loss(response(student), jvp_power=0.4)
    assert loss.tolist() == pytest.approx(slow)
    (gradient,) = torch.autograd.grad(loss.sum(), student)
    assert ((gradient * student).flatten(1).sum(1) < 0).all()  # downhill is a larger response
    far = (100 * student.detach()).requires_grad_(True)
    bounded = pair_term_diversity_loss(response(far), jvp_power=0.4)
    assert bounded.tolist() == [-LARGEST] * 5 and not torch.autograd.grad(bounded.sum(), far)[0].any()


def test_the_diversity_regulariser_has_no_gradient_at_no_response():
    still = torch.zeros(2, 2, 3, 3, requires_grad=True)
    loss = pair_term_diversity_loss(response(still), jvp_power=0.4)
    assert torch.equal(torch.autograd.grad(loss.sum(), still)[0], torch.zeros_like(still))


def test_the_random_gradient_has_the_norm_of_gads_and_another_direction(jvps):
    student, teacher, r = jvps
    ours, theirs = response(student), response(teacher)
    (gad,) = torch.autograd.grad(gad_response_loss(ours, theirs).sum(), student)
    (random,) = torch.autograd.grad(pair_term_random_gradient_loss(ours, theirs, r).sum(), student)
    assert torch.allclose(gad.flatten(1).norm(dim=1), random.flatten(1).norm(dim=1), rtol=1e-12)
    cosine = torch.nn.functional.cosine_similarity(random.flatten(1), r.flatten(1))
    assert torch.allclose(cosine, torch.ones_like(cosine))


@pytest.mark.parametrize("weighted_term", ["gad", "diversity", "random"])
def test_total_is_matching_plus_the_weighted_pull(weighted_term, point_pairs):
    student = point_denoiser(build_point_network(16, 2, seed=0))
    batch = draw_batch(point_pairs, None, student.schedule, variant="gad", batch_size=16, key=(0, 0))
    terms = Matching(replace(ALIGNMENT, weighted_term=weighted_term), 0.7).terms(student, batch, generator())
    assert {"matching", "gad", weighted_term, "total"} == set(terms)
    assert torch.allclose(terms["total"], terms["matching"].mean() + 0.7 * terms[weighted_term].mean())


def test_a_gate_leaves_out_the_pairs_outside_its_interval():
    term, t = torch.tensor([1.0, 2.0, 4.0]), torch.tensor([0.1, 0.5, 0.9])
    assert TimeWindow().mean(term, t) == term.mean()
    assert TimeWindow(low=0.4, high=0.6).mean(term, t) == pytest.approx(2 / 3)
    assert TimeWindow(low=0.5).mean(term, t) == pytest.approx(2)


def test_a_sparse_gate_keeps_the_mean_weight_and_draws_nothing_when_it_is_not_sparse():
    draw = generator()
    weights = [TimeWindow(fraction=0.2).step_weight(1.0, draw) for _ in range(5000)]
    assert set(weights) == {0.0, 5.0}
    assert sum(weights) / len(weights) == pytest.approx(1, abs=0.1)
    before = draw.get_state()
    assert TimeWindow().step_weight(0.7, draw) == 0.7 and TimeWindow(fraction=0.2).step_weight(0.0, draw) == 0
    assert torch.equal(before, draw.get_state())


def test_sparse_gad_saves_the_students_call_at_the_other_steps(point_pairs):
    calls, network = [], build_point_network(16, 2, seed=0)

    def call(network, x_t, timestep, conditioning):
        calls.append(1)
        return network(x_t, timestep)

    student = NetworkDenoiser(network, call, CosineSchedule(), "x0")
    batch = draw_batch(point_pairs, None, student.schedule, variant="gad", batch_size=16, key=(0, 0))
    stored, draw = Stored(ALIGNMENT, 1.0, 0.0, TimeWindow(fraction=0.25)), generator()
    base = {"base": torch.zeros(16)}
    active = ["gad" in stored.add_to(base, student, batch, draw) for _ in range(200)]
    assert sum(active) == len(calls) and 30 < sum(active) < 70


def test_equal_time_trains_the_baseline_longer(smoke):
    config = smoke.student.model_copy(update={"equal_time_factor": 1.5})
    assert (
        num_training_steps(config, "equal_time")
        == 1.5 * config.num_steps
        == 1.5 * num_training_steps(config, "baseline")
    )


def pull_of(stored, student, batch):
    """Gradient of the stored terms alone."""
    total = stored.add_to({"base": torch.zeros(len(batch.ids))}, student, batch, generator())["total"]
    return torch.cat([g.flatten() for g in torch.autograd.grad(total, list(student.network.parameters()))])


@pytest.mark.parametrize("anchor_weight", [0.0, 0.5])
def test_every_second_pair_gives_the_same_gradient_on_average(anchor_weight, point_pairs):
    student = point_denoiser(build_point_network(16, 2, seed=0))
    batch = draw_batch(point_pairs, None, student.schedule, variant="gad", batch_size=16, key=(0, 0))
    orders = [torch.arange(8), torch.arange(8).roll(1)]  # each pair is at an even place once
    thin, whole = (Stored(ALIGNMENT, 1.0, anchor_weight, TimeWindow(), stride) for stride in (2, 1))
    shuffled = [replace(batch.part(order), rows=torch.arange(16)) for order in orders]
    mean = sum(pull_of(thin, student, one) for one in shuffled) / 2
    assert torch.allclose(mean, pull_of(whole, student, batch), rtol=1e-4, atol=1e-7)
    assert not torch.allclose(pull_of(thin, student, batch), pull_of(whole, student, batch), rtol=0.01)


def test_a_thinned_or_gated_call_of_the_student_is_smaller(point_pairs):
    sizes, network = [], build_point_network(16, 2, seed=0)

    def call(network, x_t, timestep, conditioning):
        sizes.append(len(x_t))
        return network(x_t, timestep)

    student = NetworkDenoiser(network, call, CosineSchedule(), "x0")
    batch = draw_batch(point_pairs, None, student.schedule, variant="gad", batch_size=16, key=(0, 0))
    late = TimeWindow(high=0.6)
    inside = int(late.opens(batch.t).sum())
    assert 0 < inside < 16
    for stored in (Stored(ALIGNMENT, 1.0, 0.0, TimeWindow(), 4), Stored(ALIGNMENT, 1.0, 0.0, late)):
        pull_of(stored, student, batch)
    assert sizes == [4, inside]
    whole = ALIGNMENT.terms(student(batch.x_t, batch.t, None), batch, generator())["gad"]
    gated = Stored(ALIGNMENT, 1.0, 0.0, late).add_to({"base": torch.zeros(16)}, student, batch, generator())
    assert torch.allclose(gated["total"], late.mean(whole, batch.t[:8]), rtol=1e-5)
    never = Stored(ALIGNMENT, 1.0, 0.0, TimeWindow(low=0.7, high=0.8)).add_to(
        {"base": torch.ones(16)}, student, batch, generator()
    )
    assert list(never) == ["base", "matching", "gad", "total"] and never["total"] == 1
    assert never["gad"].eq(0).all() and never["matching"].eq(0).all()  # the names of a step depend on no part's pairs


@pytest.mark.parametrize("weighted_term", ["gad", "diversity", "random"])
def test_a_part_without_an_open_pair_names_the_terms_that_others_have(weighted_term, point_pairs):
    student = point_denoiser(build_point_network(16, 2, seed=0))
    batch = draw_batch(point_pairs, None, student.schedule, variant="gad", batch_size=16, key=(0, 0))
    alignment, base = replace(ALIGNMENT, weighted_term=weighted_term), {"base": torch.ones(16)}
    gates = (TimeWindow(), TimeWindow(low=0.7, high=0.8))
    some, none = (
        Stored(alignment, 1.0, 0.0, time_window).add_to(base, student, batch, generator()) for time_window in gates
    )
    assert list(some) == list(none)


@pytest.mark.parametrize("alike", [{"shard": True}, {"gradient_ratio": 1.0}])
def test_a_stride_that_does_not_divide_a_parts_pairs_is_refused_where_all_parts_need_gads_call(smoke, alike):
    config = smoke.student.model_copy(update={"batch_size": 16, "gad_batch_stride": 4})
    assert config.parts_of(2) == 2 and config.parts_of(8) == 8
    needy = config.model_copy(update=alike)
    assert needy.parts_of(2) == 2
    with pytest.raises(ValueError, match="gad_batch_stride 4 does not divide the 2 pairs of a part"):
        needy.parts_of(4)


@pytest.mark.parametrize("anchor_weight", [0.0, 0.5])
@pytest.mark.parametrize("parts", [1, 2, 8])
def test_thinned_terms_of_parts_have_the_batchs_mean_though_some_hold_none_of_its_pairs(
    parts, anchor_weight, point_pairs
):
    student = point_denoiser(build_point_network(16, 2, seed=0))
    batch = draw_batch(point_pairs, None, student.schedule, variant="gad", batch_size=16, key=(0, 0))
    stored, base = Stored(ALIGNMENT, 1.0, anchor_weight, stride=4), {"base": torch.ones(16)}
    pairs = batch.part(batch.pairs_at(4))
    slow = replace(stored, stride=1).add_to(base, student, pairs, generator())
    found = [stored.add_to(base, student, part, generator()) for part in batch.split(parts)]
    for name in ("total", "gad", "matching"):
        mean = torch.stack([terms[name].mean() for terms in found]).mean()
        assert mean.item() == pytest.approx(slow[name].mean().item(), rel=1e-5)


def test_a_thinned_batch_in_parts_has_the_pairs_of_the_whole(point_pairs):
    batch = draw_batch(point_pairs, None, CosineSchedule(), variant="gad", batch_size=16, key=(0, 0))
    whole = batch.part(batch.pairs_at(2)).rows.sort().values
    parts = torch.cat([part.part(part.pairs_at(2)).rows for part in batch.split(2)]).sort().values
    assert torch.equal(whole, parts) and len(whole) == 8


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gad_batch_stride": 2}, "nothing to save in output matching"),
        ({"paradigm": "tdm", "gad_batch_stride": 3}, "gad_batch_stride 3 does not divide the"),
        ({"side_variants": ["gda"]}, "unknown variant 'gda'"),
        ({"side_variants": ["baseline"]}, "the baseline needs all seeds"),
    ],
)
def test_impossible_thinning_and_side_variants_are_refused(changes, message, smoke):
    with pytest.raises(ValueError, match=message):
        StudentConfig(**smoke.student.model_dump() | changes)


def test_an_interval_without_a_node_is_refused_where_it_leaves_nothing(point_teacher, point_pairs, smoke):
    config = smoke.student.model_copy(update={"paradigm": "tdm", "gad_interval": [0.1, 0.3]})
    student = start_student(point_teacher, config, seed=0)
    given = (point_teacher, student, point_pairs, config)
    with pytest.raises(ValueError, match=r"\[0.1, 0.3\] has no student timestep \(1, 0.5\): GAD never acts"):
        build_objective(*given, variant="gad", seed=0)
    for variant in ("baseline", "pointwise_anchor", "gad_score"):  # which has times of its own
        build_objective(*given, variant=variant, seed=0)


def test_side_variants_have_the_first_seeds_alone(smoke):
    config = StudentConfig(**smoke.student.model_dump() | {"seeds": [4, 2, 7], "side_variants": ["random_gradient"]})
    assert config.seeds_of("gad") == [4, 2, 7] and config.seeds_of("random_gradient") == [4]
    assert config.model_copy(update={"side_seeds": 2}).seeds_of("random_gradient") == [4, 2]


def test_differences_pair_the_seeds_that_both_have():
    rows = [("baseline", 0, 1.0), ("baseline", 1, 3.0), ("baseline", 2, 8.0), ("gad", 0, 2.0), ("gad", 1, 6.0)]
    rows += [("random_gradient", 2, 9.0), ("gad_anchor", 5, 1.0)]
    table = pd.DataFrame(rows, columns=["variant", "seed", "error"])
    difference = summary_against(table, ["error"], "baseline")
    assert difference["gad"]["error"]["mean"] == 2 and difference["gad"]["error"]["n"] == 2
    single = difference["random_gradient"]["error"]
    assert single["mean"] == 1 and single["n"] == 1 and math.isnan(single["low"])
    assert "gad_anchor" not in difference
