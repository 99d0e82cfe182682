"""In chains of one student step the terms on stored pairs use the base loss's own answer: the same numbers, no further
call.
"""

import pytest
import torch

from gad.data.noise_pairs import NoisePairs
from gad.data.pair_generation import generate_noise_pairs
from gad.diffusion.denoiser import NetworkDenoiser
from gad.distillation.batch import batch_random_generator
from gad.distillation.batch_source import draw_batch
from gad.distillation.objective import build_objective
from gad.models.students import start_student

PARADIGMS = ["ladd", "tdm", "dmd2", "sid"]


@pytest.fixture(scope="module")
def one_node(point_teacher, smoke, tmp_path_factory):
    folder = tmp_path_factory.mktemp("one_node")
    list(generate_noise_pairs(folder, point_teacher, "hash", smoke.noise_pairs.model_copy(update={"student_steps": 1})))
    return NoisePairs(folder)


def step(teacher, pairs, config, variant):
    """Terms of a step, the gradient of their total on the student, and the sizes of the student's calls."""
    sizes, plain = [], start_student(teacher, config, seed=0)

    def call(network, x_t, timestep, conditioning):
        sizes.append((len(x_t), torch.is_grad_enabled()))
        return plain.call(network, x_t, timestep, conditioning)

    student = NetworkDenoiser(plain.network, call, plain.schedule, plain.parameterisation)
    objective = build_objective(teacher, plain, pairs, config, variant=variant, seed=0)
    batch = draw_batch(pairs, None, student.schedule, variant=variant, batch_size=12, key=(0, 0))
    terms = objective.terms(student, batch, batch_random_generator(0))
    gradient = torch.autograd.grad(terms["total"], list(student.network.parameters()))
    extra = objective.stored.add_to({"base": torch.zeros(12)}, student, batch, batch_random_generator(0))
    return terms, torch.cat([g.flatten() for g in gradient]), sizes, extra


@pytest.mark.parametrize("paradigm", PARADIGMS)
def test_gad_and_anchor_are_free_at_one_node_and_the_same_as_by_a_call_of_their_own(
    paradigm, point_teacher, one_node, smoke
):
    config = smoke.student.model_copy(update={"paradigm": paradigm, "gad_weight": 0.7})
    terms, gradient, sizes, extra = step(point_teacher, one_node, config, "gad_anchor")
    assert [grad for _, grad in sizes].count(True) == 2  # the base loss's own, and the one that is asked for here
    for name in ("gad", "matching"):
        assert torch.allclose(terms[name], extra[name], rtol=1e-5)
    base, base_gradient, _, _ = step(point_teacher, one_node, config, "noise_augmentation")
    assert torch.allclose(terms["total"], base["total"] + extra["total"], rtol=1e-5)
    assert not torch.allclose(gradient, base_gradient, rtol=0.01)


@pytest.mark.parametrize("paradigm", PARADIGMS)
def test_on_longer_chains_they_cost_a_call(paradigm, point_teacher, point_pairs, smoke):
    config = smoke.student.model_copy(update={"paradigm": paradigm, "gad_weight": 0.7})
    _, _, sizes, _ = step(point_teacher, point_pairs, config, "gad")
    assert [grad for _, grad in sizes].count(True) == 3
