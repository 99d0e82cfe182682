"""Networks on a GPU answer callers on the CPU; skipped where there is none."""

import pytest
import torch
from accelerate.state import AcceleratorState

from gad.config import StudentConfig
from gad.config.layout import LayoutConfig
from gad.diffusion.jvp import exact_jvps
from gad.distillation.objective import build_objective
from gad.distillation.training_loop import train
from gad.evaluation.control.layout.prompts import emoji_layouts
from gad.evaluation.control.layout.steering import steer
from gad.models.model import load_model
from gad.models.sampler import Sampler
from gad.models.students import start_student

PROMPTS = ["a red car on a white background", "a dog on a pink background"]


@pytest.fixture
def on_gpu(saved):
    if not torch.cuda.is_available():
        pytest.skip("no GPU here")
    return load_model(saved).on(torch.device("cuda"))


def sampler(model) -> Sampler:
    return Sampler("teacher", 0, model, num_steps=2, guidance_scale=3.0)


def test_a_model_on_a_gpu_makes_the_pictures_of_the_same_model_on_the_cpu(saved, on_gpu, noise):
    plain, moved = (sampler(model).generate(noise, PROMPTS) for model in (load_model(saved), on_gpu))
    assert moved.device.type == "cpu" and torch.allclose(plain, moved, atol=1e-3)


def test_a_model_on_a_gpu_has_the_derivatives_of_the_same_model_on_the_cpu(saved, on_gpu, noise):
    directions, answers = torch.randn_like(noise)[None], []
    for model in (load_model(saved), on_gpu):
        denoise, conditioning = model.guided(3.0), model.condition(PROMPTS)
        phi = lambda x: denoise(x, torch.ones(2), conditioning)  # noqa: B023, E731
        answers.append(exact_jvps(phi, noise, directions)[1])
    assert answers[1].device.type == "cpu" and torch.allclose(*answers, rtol=1e-2, atol=1e-3)


def test_layout_is_steered_by_a_model_on_a_gpu(on_gpu, noise):
    moved = steer(sampler(on_gpu), emoji_layouts(2), noise, LayoutConfig(num_prompts=2, iterations=1), 64)
    assert moved.device.type == "cpu" and not torch.equal(moved, noise)


@pytest.mark.parametrize("paradigm", ["matching", "ladd", "tdm", "sid"])
@pytest.mark.parametrize("changes", [{}, {"gad_interval": [0.3, 1.0]}], ids=["whole", "gated"])
def test_chains_of_two_nodes_train_on_a_gpu_as_on_the_cpu(
    point_teacher, point_pairs, smoke, tmp_path, paradigm, changes
):
    if not torch.cuda.is_available():
        pytest.skip("no GPU here")
    losses = {}
    for device in ("cpu", "cuda"):
        AcceleratorState._reset_state(reset_partial_state=True)  # it keeps a process on its first device
        config = StudentConfig(
            **smoke.student.model_dump() | changes | {"device": device, "paradigm": paradigm, "num_steps": 2}
        )
        student = start_student(point_teacher, config, seed=0)
        objective = build_objective(point_teacher, student, point_pairs, config, variant="gad", seed=0)
        options = {"variant": "gad", "seed": 0, "folder": tmp_path / device}
        losses[device] = list(train(student, objective, point_pairs, None, config, **options))[-1].terms
    AcceleratorState._reset_state(reset_partial_state=True)
    assert losses["cpu"] == pytest.approx(losses["cuda"], rel=1e-3, abs=1e-5)
