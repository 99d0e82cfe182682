from dataclasses import replace

import pytest
import torch

from gad.config.variants import VARIANTS
from gad.data.noise_pairs import NoisePairs, noise_pair_of
from gad.data.pair_generation import generate_noise_pairs
from gad.diffusion.denoiser import NetworkDenoiser
from gad.diffusion.sampling import ddim_step
from gad.diffusion.schedule import CosineSchedule
from gad.distillation.batch_source import draw_batch
from gad.distillation.pair_terms import Alignment
from gad.distillation.regression import Matching
from gad.models.mlp import build_point_network, point_denoiser

SCHEDULE = CosineSchedule()
ALIGNMENT = Alignment(jvp_power=1.7, kind="mse")


def matching_step(student, batch, *, gad_weight, alignment=ALIGNMENT):
    return Matching(alignment, gad_weight).terms(student, batch, torch.Generator())


def batch_of(pairs, variant, *, step=0, batch_size=16, seed=0):
    return draw_batch(pairs, None, SCHEDULE, variant=variant, batch_size=batch_size, key=(seed, step))


@pytest.fixture
def student():
    return point_denoiser(build_point_network(16, 2, seed=0))


def gradients(student, terms):
    student.zero_grad()
    terms["total"].backward()
    return [parameter.grad.clone() for parameter in student.parameters()]


def test_gad_weight_zero_is_noise_augmentation_bit_for_bit(point_pairs, student):
    without = matching_step(student, batch_of(point_pairs, "noise_augmentation"), gad_weight=0.0)
    with_zero = matching_step(student, batch_of(point_pairs, "gad"), gad_weight=0.0)
    assert torch.equal(without["total"], without["matching"].mean())
    assert torch.equal(without["total"], with_zero["total"])
    for a, b in zip(gradients(student, without), gradients(student, with_zero), strict=True):
        assert torch.equal(a, b)


def test_total_is_matching_plus_the_weighted_relative_mismatch(point_pairs, student):
    batch = batch_of(point_pairs, "gad")
    terms = matching_step(student, batch, gad_weight=0.7)
    x0 = student(batch.x_t, batch.t, None)
    gap = ((x0[8:] - x0[:8]) - (batch.target[8:] - batch.target[:8])).square().flatten(1).mean(1)
    assert torch.allclose(terms["gad"], gap / 0.3**2 / 1.7, rtol=1e-4)
    assert torch.allclose(terms["total"], terms["matching"].mean() + 0.7 * terms["gad"].mean())


def test_a_student_without_any_response_has_gad_term_one(point_teacher, smoke, student, tmp_path):
    changes = {"student_steps": 1, "directions_per_noise": 1}
    list(generate_noise_pairs(tmp_path, point_teacher, "hash", smoke.noise_pairs.model_copy(update=changes)))
    pairs = NoisePairs(tmp_path)
    for parameter in student.parameters():
        parameter.detach().zero_()
    alignment = replace(ALIGNMENT, jvp_power=pairs.jvp_power())
    batches = [batch_of(pairs, "gad", step=step, batch_size=64) for step in range(60)]
    terms = [
        matching_step(student, batch, gad_weight=1.0, alignment=alignment)["gad"].mean().item() for batch in batches
    ]
    assert sum(terms) / len(terms) == pytest.approx(1, abs=0.1)


def test_the_baseline_draws_no_perturbed_member(point_pairs, smoke):
    all_models, copies = torch.arange(len(point_pairs)), smoke.noise_pairs.directions_per_noise
    perturbed = torch.cat(
        [noise_pair_of(all_models, (2, 1, 1), smoke.noise_pairs, index=k).perturbed for k in range(copies)]
    )
    known = {tuple(row) for row in perturbed.flatten(1).tolist()}
    seen = set()
    for step in range(50):
        batch = batch_of(point_pairs, "baseline", step=step)
        assert not batch.paired
        seen |= {tuple(row) for row in batch.x_t[batch.t == 1].flatten(1).tolist()}
    assert len(seen) > len(point_pairs) and not seen & known


def test_paired_batches_hold_each_noise_and_its_partner_at_the_same_node(point_pairs, smoke):
    batch = batch_of(point_pairs, "gad", batch_size=64)
    (ids, partners), (t, t_partner) = batch.ids.chunk(2), batch.t.chunk(2)
    assert torch.equal(ids, partners) and torch.equal(t, t_partner)
    value, moved = batch.x_t.chunk(2)
    for row in (t == 1).nonzero().flatten().tolist():
        candidates = [noise_pair_of([int(ids[row])], (2, 1, 1), smoke.noise_pairs, index=k) for k in range(2)]
        assert torch.equal(value[row], candidates[0].noise[0])
        assert any(torch.equal(moved[row], pair.perturbed[0]) for pair in candidates)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_target_leads_on_along_the_stored_trajectory(point_pairs, variant):
    batch = batch_of(point_pairs, variant)
    reached = ddim_step(SCHEDULE, batch.x_t, batch.target, batch.t, batch.t - 0.5)
    stored = torch.cat([point_pairs.trajectories(batch.ids, member) for member in range(5)])  # 5B S+1 ...
    for x_t, x_next in zip(batch.x_t, reached, strict=True):
        matches = [
            torch.equal(x_t, states[node]) and torch.allclose(x_next, states[node + 1], atol=1e-5)
            for states in stored
            for node in range(2)
        ]
        assert any(matches)


def test_in_output_matching_every_variant_makes_one_student_call_on_as_many_states(point_pairs):
    for variant in VARIANTS:
        sizes = []
        network = build_point_network(16, 2, seed=0)

        def call(network, x_t, timestep, conditioning, sizes=sizes):
            sizes.append(len(x_t))
            return network(x_t, timestep)

        student = NetworkDenoiser(network, call, SCHEDULE, "x0")
        weight = 1.0 if variant == "gad" else 0.0
        matching_step(student, batch_of(point_pairs, variant), gad_weight=weight)
        assert sizes == [16]


@pytest.mark.parametrize("variant", VARIANTS)
def test_batches_depend_on_seed_and_step_alone(point_pairs, variant):
    first = batch_of(point_pairs, variant, step=3, seed=1)
    torch.manual_seed(99)
    again = batch_of(point_pairs, variant, step=3, seed=1)
    assert torch.equal(first.x_t, again.x_t) and torch.equal(first.target, again.target)
    for other in (batch_of(point_pairs, variant, step=4, seed=1), batch_of(point_pairs, variant, step=3, seed=2)):
        assert not torch.equal(first.x_t, other.x_t)
    assert not torch.equal(batch_of(point_pairs, variant, step=1, seed=3).x_t, first.x_t)


def test_paired_variants_see_the_same_batches(point_pairs):
    a, b = (batch_of(point_pairs, variant, step=7) for variant in ("noise_augmentation", "gad"))
    assert torch.equal(a.x_t, b.x_t) and torch.equal(a.target, b.target)
