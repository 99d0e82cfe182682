"""TDM's training step on a chain of four student steps against one that is written slowly from its equations, in
float64.
"""

import copy
import zlib
from dataclasses import replace

import pytest
import torch
from diffusers import DDIMScheduler, PixArtTransformer2DModel
from reference.tdm_step import Process, Step

from gad.data.noise_pairs import NoisePairs
from gad.data.pair_generation import generate_noise_pairs
from gad.data.prompts import prompt_of
from gad.diffusion.conditioning import Conditioning
from gad.diffusion.denoiser import NetworkDenoiser
from gad.diffusion.schedule import FlowSchedule, TableSchedule
from gad.distillation.batch import batch_random_generator
from gad.distillation.batch_source import draw_batch
from gad.distillation.objective import build_objective
from gad.models.families import call_pixart
from gad.models.model import Model

GUIDANCE = 4.5
SIZE = 6
DRAWS = 1  # with which all four student steps are drawn
TABLE = TableSchedule(DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear").alphas_cumprod)
SCHEDULES = {"eps": TABLE, "v": TABLE, "flow": FlowSchedule()}
TOLERANCE = {"rtol": 1e-9, "atol": 1e-12}


def build_teacher(predicts: str) -> Model:
    """A transformer of one narrow block; a prompt is encoded as numbers that depend on it alone."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = PixArtTransformer2DModel(
            sample_size=4,
            in_channels=2,
            out_channels=2,
            num_attention_heads=2,
            attention_head_dim=8,
            cross_attention_dim=16,
            num_layers=1,
            caption_channels=6,
            use_additional_conditions=False,
        )
    network.eval().requires_grad_(False)

    def encode(prompts):
        generators = [torch.Generator().manual_seed(zlib.crc32(prompt.encode())) for prompt in prompts]
        embeds = torch.stack([torch.randn(5, 6, generator=generator) for generator in generators])
        return Conditioning(embeds, torch.ones(len(prompts), 5).long())

    denoiser = NetworkDenoiser(network, call_pixart, SCHEDULES[predicts], predicts)
    return Model(denoiser, (2, 4, 4), encode=encode)


def double(denoiser, *, seed: int | None = None):
    """A copy in float64; with a seed its weights are moved a little, so that no two networks answer alike."""
    moved = copy.deepcopy(denoiser).double()
    generator = torch.Generator().manual_seed(seed or 0)
    for parameter in moved.network.parameters():
        noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        parameter.data.add_(noise, alpha=0.02 if seed else 0)
    return moved


@pytest.fixture(params=SCHEDULES)
def setting(request, smoke, tmp_path):
    """Objective, student, batch and empty prompt; networks and noises in float64."""
    teacher = build_teacher(request.param)
    changes = {"num_pairs": SIZE, "guidance_scale": GUIDANCE, "teacher_steps": 4, "student_steps": 4}
    list(generate_noise_pairs(tmp_path, teacher, "hash", smoke.noise_pairs.model_copy(update=changes)))
    pairs, prompts = NoisePairs(tmp_path), teacher.condition(prompt_of(range(SIZE)))
    student = double(teacher.denoiser, seed=1)
    student.network.requires_grad_(True)
    teacher = replace(teacher, denoiser=double(teacher.denoiser))
    config = smoke.student.model_copy(update={"paradigm": "tdm"})
    objective = build_objective(teacher, student, pairs, config, variant="baseline", seed=0)
    objective = replace(objective, fake=double(objective.fake, seed=2))
    batch = draw_batch(pairs, prompts, student.schedule, variant="baseline", batch_size=SIZE, key=(0, 0))
    return objective, student, replace(batch, noise=batch.noise.double()), teacher.condition([""])


def steps_of(batch, schedule, predicts, generator) -> list[Step]:
    """Each sample's part of the batch, with the numbers that the objective draws."""
    table = schedule.alphas_cumprod.double().tolist() if isinstance(schedule, TableSchedule) else None
    node, uniform = batch.integers_here(4, generator).tolist(), batch.uniform(generator).tolist()
    assert set(node) == {0, 1, 2, 3}
    draws = zip(batch.noise.split(1), node, uniform, batch.normal(generator).split(1), strict=True)
    return [Step(Process(predicts, table), z, i, k, u, fresh) for i, (z, k, u, fresh) in enumerate(draws)]


def alone(denoiser, prompts, empty):
    """The bare network as a function of one sample and the number of its prompt."""

    def output(x, timestep, prompt):
        asked = empty if prompt is None else prompts[[prompt]]
        return call_pixart(denoiser.network, x, timestep, replace(asked, prompt_embeds=asked.prompt_embeds.double()))

    return output


def check(ours, slow, network):
    """One loss for every sample, and one gradient for every weight."""
    assert torch.allclose(ours, slow, **TOLERANCE)
    weights = torch.linspace(0.5, 2, SIZE, dtype=torch.float64)
    parameters = list(network.parameters())
    first, second = (torch.autograd.grad(loss @ weights, parameters, allow_unused=True) for loss in (ours, slow))
    scale = max(gradient.abs().max() for gradient in first if gradient is not None)
    assert scale > 1e-3
    for one, other in zip(first, second, strict=True):
        assert (one is None) == (other is None)
        assert one is None or torch.allclose(one / scale, other / scale, **TOLERANCE)


def test_a_step_of_four_nodes_equals_the_slow_one_in_every_parameterisation(setting):
    objective, student, batch, empty = setting
    networks = (student, objective.teacher.denoiser, objective.fake)
    slow = [alone(network, batch.conditioning, empty) for network in networks]
    steps = steps_of(batch, student.schedule, student.parameterisation, batch_random_generator(DRAWS))
    terms = objective.terms(student, batch, batch_random_generator(DRAWS))
    assert torch.equal(terms["total"], terms["tdm"].mean())
    losses = [step.student_loss(*slow, w=GUIDANCE, kind="pseudo_huber") for step in steps]
    check(terms["tdm"], torch.stack(losses), student.network)
    objective.fake.network.requires_grad_(True)
    ours = objective.auxiliary_loss(student, batch, batch_random_generator(DRAWS))
    losses = [step.fake_score_loss(slow[0], slow[2]) for step in steps]
    check(ours, torch.stack(losses), objective.fake.network)
