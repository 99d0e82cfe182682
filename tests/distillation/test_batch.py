"""Levers of a student's training: parts of a batch, and steps of several sizes."""

import pytest
import torch

from gad.config import NoisePairsConfig, StudentConfig, load_recipe
from gad.data.noise_pairs import NoisePairs, noise_pair_of
from gad.data.pair_generation import generate_noise_pairs
from gad.diffusion.schedule import CosineSchedule
from gad.distillation.batch_source import batch_source_partners, draw_batch
from gad.distillation.objective import build_objective
from gad.distillation.training_loop import train
from gad.models.students import start_student

GRADED = {"directions_per_noise": 3, "perturbation_scale": 0.4, "smallest_scale": 0.1}


@pytest.fixture
def graded(point_teacher, smoke, tmp_path):
    list(generate_noise_pairs(tmp_path / "pairs", point_teacher, "hash", smoke.noise_pairs.model_copy(update=GRADED)))
    return NoisePairs(tmp_path / "pairs")


@pytest.mark.parametrize("paradigm", ["matching", "ladd", "tdm", "sid"])
def test_an_accumulated_gradient_is_that_of_the_whole_batch(paradigm, point_teacher, point_pairs, smoke, tmp_path):
    finals = []
    for accumulate in (1, 4):
        changes = {"paradigm": paradigm, "accumulate": accumulate, "num_steps": 3, "batch_size": 16, "gad_weight": 0.5}
        config = smoke.student.model_copy(update=changes | {"log_every": 1})
        student = start_student(point_teacher, config, seed=0)
        objective = build_objective(point_teacher, student, point_pairs, config, variant="gad", seed=0)
        folder = tmp_path / str(accumulate)
        folder.mkdir()
        run = train(student, objective, point_pairs, None, config, variant="gad", seed=0, folder=folder)
        finals.append([(state.terms["total"], state.gradient_norm) for state in run])
    for whole, parts in zip(*finals, strict=True):
        assert parts == pytest.approx(whole, rel=2e-3)


def test_parts_of_a_batch_keep_pairs_together_and_draw_their_rows_of_the_whole(point_pairs):
    batch = draw_batch(point_pairs, None, CosineSchedule(), variant="gad", batch_size=16, key=(0, 0))
    parts = batch.split(4)
    for part in parts:
        assert torch.equal(*part.ids.chunk(2)) and len(part.h) == 2 and part.paired
    order = torch.cat([part.rows for part in parts])
    assert order.sort().values.tolist() == list(range(16))
    for draw in ("normal", "uniform", "normal_number"):
        whole = getattr(batch, draw)(torch.Generator().manual_seed(3))
        split = torch.cat([getattr(part, draw)(torch.Generator().manual_seed(3)) for part in parts])
        assert torch.equal(split, whole[order])


def test_a_batch_that_does_not_part_into_whole_pairs_is_refused(smoke):
    with pytest.raises(ValueError, match="batch_size 6 does not part into 2 times whole pairs"):
        StudentConfig(**smoke.student.model_dump() | {"batch_size": 6, "accumulate": 2})


@pytest.mark.parametrize(("accumulate", "processes", "parts"), [(8, 1, 8), (8, 8, 8), (8, 3, 9), (1, 4, 4), (6, 4, 8)])
def test_processes_share_the_parts_of_a_batch_equally(smoke, accumulate, processes, parts):
    config = smoke.student.model_copy(update={"batch_size": 144, "accumulate": accumulate})
    assert config.parts_of(processes) == parts


def test_more_processes_than_a_batch_has_pairs_are_refused_before_anything_is_done(smoke):
    for recipe, most in (("sd21_ladd", 32), ("pixart_tdm", 32), ("sana_sid", 4)):
        config = load_recipe(recipe).student
        assert config.parts_of(most) == max(most, config.accumulate)
        with pytest.raises(ValueError, match=f"does not part into {2 * most} times whole pairs among {2 * most} proc"):
            config.parts_of(2 * most)


def test_graded_steps_fall_from_the_largest_to_the_smallest(smoke):
    config = NoisePairsConfig(**smoke.noise_pairs.model_dump() | GRADED)
    assert config.steps == pytest.approx([0.4, 0.2, 0.1])
    assert smoke.noise_pairs.steps == [0.3, 0.3]
    for index, h in enumerate(config.steps):
        pair = noise_pair_of([0], (2, 1, 1), config, index=index)
        assert pair.h == h and torch.allclose(pair.perturbed, pair.noise + h * pair.direction)


def test_a_step_under_the_rounding_floor_is_refused_wherever_it_stands(smoke):
    with pytest.raises(ValueError, match="drowns in the rounding"):
        NoisePairsConfig(**smoke.noise_pairs.model_dump() | GRADED | {"smallest_scale": 1e-9})


def test_steps_that_would_grow_are_refused(smoke):
    with pytest.raises(ValueError, match="smallest_scale 0.3 is larger than perturbation_scale 0.2"):
        NoisePairsConfig(
            **smoke.noise_pairs.model_dump() | {"perturbation_scale": 0.2, "smallest_scale": 0.3, "step": "straight"}
        )


def test_the_response_of_all_steps_is_what_gad_is_relative_to(graded):
    ids, powers = torch.arange(len(graded)), []
    for index, h in enumerate((0.4, 0.2, 0.1)):
        change = graded.trajectories(ids, 1 + index)[:, -1] - graded.trajectories(ids, 0)[:, -1]
        powers.append((change / h).square().mean().item())
    assert graded.jvp_power() == pytest.approx(sum(powers) / 3, rel=1e-5) and len({round(p, 3) for p in powers}) == 3


def test_each_pair_of_a_batch_knows_its_own_step(graded):
    batch = draw_batch(graded, None, CosineSchedule(), variant="gad", batch_size=64, key=(0, 0))
    moved = batch.noise.chunk(2)[1]
    assert set(batch.h.tolist()) == set(torch.tensor(graded.config.steps).tolist())
    for row in range(32):
        index = int((torch.tensor(graded.config.steps) - batch.h[row]).abs().argmin())
        pair = noise_pair_of([int(batch.ids[row])], (2, 1, 1), graded.config, index=index)
        assert torch.equal(moved[row], pair.perturbed[0])


def test_steps_fall_or_rise_as_training_goes_on(graded):
    assert [batch_source_partners(float(p), "decreasing", 3).start for p in (0, 0.34, 0.99)] == [0, 1, 2]
    assert [batch_source_partners(float(p), "increasing", 3).start for p in (0, 0.34, 0.99)] == [2, 1, 0]
    assert batch_source_partners(0.5, "any", 3) == range(3)
    options = {"variant": "gad", "batch_size": 16, "key": (0, 0)}
    late = draw_batch(graded, None, CosineSchedule(), **options, partners=batch_source_partners(0.9, "decreasing", 3))
    assert late.h.tolist() == pytest.approx([0.1] * 8)


def test_a_variant_may_have_a_weight_of_its_own(point_teacher, point_pairs, smoke):
    config = StudentConfig(
        **smoke.student.model_dump() | {"gad_weight": 0.3, "variant_weights": {"random_gradient": 2}}
    )
    student = start_student(point_teacher, config, seed=0)
    weights = {
        name: build_objective(point_teacher, student, point_pairs, config, variant=name, seed=0).gad_weight
        for name in ("gad", "random_gradient")
    }
    assert weights == {"gad": 0.3, "random_gradient": 2}
    with pytest.raises(ValueError, match="variant_weights: 'pointwise_anchor' has no term to weigh"):
        StudentConfig(**smoke.student.model_dump() | {"variant_weights": {"pointwise_anchor": 2}})
