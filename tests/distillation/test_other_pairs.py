"""GAD with another pair's teacher response: the size of the target stays, its direction goes."""

import pytest
import torch

from gad.diffusion.schedule import CosineSchedule
from gad.distillation.batch import batch_random_generator
from gad.distillation.batch_source import draw_batch
from gad.distillation.objective import build_objective
from gad.distillation.other_pairs import batch_with_other_pairs, next_pair_at_the_same_time
from gad.distillation.pair_terms import pair_term_response
from gad.models.students import start_student


def drawn(pairs, variant="gad_other_pair", target="next_state"):
    batch = draw_batch(pairs, None, CosineSchedule(), variant=variant, batch_size=32, key=(0, 0))
    return batch_with_other_pairs(batch, variant, target)


def test_the_next_pair_is_one_of_the_same_timestep_and_each_is_somebodys_next():
    t = torch.tensor([1.0, 0.5, 1.0, 0.5, 0.5, 1.0])
    order = next_pair_at_the_same_time(t)
    assert order.tolist() == [2, 3, 5, 4, 1, 0]
    assert next_pair_at_the_same_time(torch.tensor([1.0, 0.5, 1.0])).tolist() == [2, 2, 0]  # alone at its timestep
    assert next_pair_at_the_same_time(torch.ones(1)).tolist() == [0]


def test_the_target_is_another_pairs_response_however_the_batch_is_split(point_pairs):
    batch = drawn(point_pairs)
    own = pair_term_response(batch.target, batch.pair_steps).jvp
    count = len(own)
    for i in range(count):
        same = [j for j in [*range(i + 1, count), *range(i)] if batch.t[j] == batch.t[i]]
        assert torch.equal(batch.other_jvp[i], own[same[0]]) and not torch.equal(own[same[0]], own[i])
    for t in batch.t.unique():  # a permutation among the pairs of a timestep: the sizes are the same ones
        here = batch.t[:count] == t
        assert torch.equal(*(part[here].flatten().sort().values for part in (batch.other_jvp, own)))
    parts = batch.split(4)
    assert torch.equal(torch.cat([part.other_jvp for part in parts]), batch.other_jvp)
    assert drawn(point_pairs, "gad").other_jvp is None


def test_the_term_is_gads_with_that_response(point_teacher, point_pairs, smoke):
    config = smoke.student.model_copy(update={"paradigm": "tdm", "gad_weight": 0.7})
    student = start_student(point_teacher, config, seed=0)
    given = (point_teacher, student, point_pairs, config)
    batch = drawn(point_pairs)
    terms = build_objective(*given, variant="gad_other_pair", seed=0).terms(student, batch, batch_random_generator(0))
    ours = pair_term_response(student(batch.x_t, batch.t, None), batch.pair_steps).jvp
    slow = (ours - batch.other_jvp).square().flatten(1).mean(1) / point_pairs.jvp_power()
    assert torch.allclose(terms["other_pair"], slow, rtol=1e-5)
    assert terms["total"].item() == pytest.approx((terms["tdm"].mean() + 0.7 * slow.mean()).item(), rel=1e-5)


@pytest.mark.parametrize("target", ["endpoint", "end_to_end"])
def test_with_another_target_it_is_the_endpoints_response(target, point_pairs):
    batch = drawn(point_pairs, target=target)
    assert torch.equal(batch.target, batch.endpoint)
    own = pair_term_response(batch.endpoint, batch.pair_steps).jvp
    if target == "end_to_end":  # a noise has no timestep: all pairs are alike
        assert torch.equal(batch.other_jvp, own.roll(-1, 0))


def test_the_first_step_anchor_is_the_anchor_on_the_samples_at_the_first_timestep(point_teacher, point_pairs, smoke):
    config = smoke.student.model_copy(update={"paradigm": "tdm", "anchor_weight": 0.7})
    student = start_student(point_teacher, config, seed=0)
    objective = build_objective(point_teacher, student, point_pairs, config, variant="first_step_anchor", seed=0)
    batch = drawn(point_pairs, "first_step_anchor")
    terms = objective.terms(student, batch, batch_random_generator(0))
    gap = (student(batch.x_t, batch.t, None) - batch.target).square().flatten(1).mean(1)
    first = [value for value, t in zip(gap.tolist(), batch.t.tolist(), strict=True) if t == 1]
    assert 0 < len(first) < 32
    expected = terms["tdm"].mean().item() + 0.7 * 2 * sum(first) / 32
    assert terms["total"].item() == pytest.approx(expected, rel=1e-5)
