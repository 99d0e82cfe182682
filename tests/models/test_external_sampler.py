"""The chain of a model from elsewhere: the path that it walks, and the directions that move its end."""

import pandas as pd
import pytest
import torch
from tiny import PROMPTS

from gad.config import ExternalStudent, load_recipe
from gad.diffusion.sampling import ddim_step, sample, sampling_timesteps
from gad.diffusion.schedule import FlowSchedule
from gad.evaluation.sensitivity.spectrum import measure_spectra
from gad.evaluation.sensitivity.trajectory import interpolate_trajectory, measure_trajectories, trajectory_states_at
from gad.models.external import load_external, load_external_student
from gad.models.model import Model
from gad.models.pipeline_schedule import pipeline_stock_scheduler
from gad.models.pipelines import pipeline_denoiser

NOISE = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(5))


@pytest.fixture
def copied(pipeline, tmp_path):
    """A pipeline's model, and its folder with a scheduler that walks our times."""
    own, pipeline.scheduler = pipeline.scheduler, pipeline_stock_scheduler(pipeline)
    pipeline.save_pretrained(tmp_path / "copy")
    pipeline.scheduler = own
    return Model(pipeline_denoiser(pipeline), (4, 16, 16), pipeline), tmp_path / "copy"


def entry(folder, num_steps, **changes) -> ExternalStudent:
    return ExternalStudent(name="copy", source=str(folder), num_steps=num_steps, **changes)


def flow_sigmas(model, num_steps):
    """Of a flow's own Euler scheduler, which has to be told our times."""
    return {"sigmas": sampling_timesteps(num_steps)[:-1].tolist()} if isinstance(model.schedule, FlowSchedule) else {}


def recipe_of(student):
    recipe = load_recipe("emoji_quick")
    pairs = recipe.noise_pairs.model_copy(update={"teacher_steps": 2, "guidance_scale": 1.0})
    small = {"num_noises": 2, "directions": ["isotropic"], "num_spectra": 2, "num_singular": 2}
    sensitivity = recipe.sensitivity.model_copy(update=small)
    return recipe.model_copy(update={"noise_pairs": pairs, "sensitivity": sensitivity, "external_models": [student]})


def test_every_family_walks_its_own_chain_as_ours_does(copied):
    model, folder = copied
    outside = load_external_student(entry(folder, 4, **flow_sigmas(model.denoiser, 4)), model)
    schedule, states, at = outside.denoiser.path(NOISE, outside.condition(PROMPTS))
    ours = sample(model.denoiser, NOISE, model.condition(PROMPTS), num_steps=4)
    assert type(schedule) is type(model.denoiser.schedule)
    assert at == pytest.approx([1, 0.75, 0.5, 0.25, 0], abs=1e-6)
    assert torch.allclose(states, ours, atol=1e-4 * ours.abs().max().item())


@pytest.mark.parametrize("backbone", ["unet"], indirect=True, scope="session")
def test_eulers_method_in_sigma_walks_the_same_path_as_ddim(copied):
    model, folder = copied
    scheduler = {"class": "EulerDiscreteScheduler", "timestep_spacing": "trailing", "rescale_betas_zero_snr": False}
    conditioning, paths = model.condition(PROMPTS), []
    for told in ({"rescale_betas_zero_snr": False}, scheduler):
        outside = load_external_student(entry(folder, 4, scheduler=told), model)
        paths.append(
            trajectory_states_at(outside.denoiser, NOISE, conditioning, num_steps=1, times=(0.6, 0.5, 0.1, 0.0))
        )
    start = paths[0].abs().max().item()  # Euler starts at the noise times sqrt(1 + sigma^2) / sigma = 1.002 of it
    assert torch.allclose(*paths, atol=0.02 * start)


def test_between_two_nodes_the_path_is_the_way_of_the_step(point_teacher):
    denoise, z = point_teacher.denoiser, torch.randn(3, 2, 1, 1, generator=torch.Generator().manual_seed(0))
    states = sample(denoise, z, None, num_steps=3)
    at = sampling_timesteps(3).tolist()
    found = interpolate_trajectory(denoise.schedule, states, at, (1.0, 0.8, 0.5, 0.0))
    by_hand = [z]
    for k, time in ((0, 0.8), (1, 0.5)):
        t, wanted = torch.full((3,), at[k]), torch.full((3,), time)
        by_hand.append(ddim_step(denoise.schedule, states[k], denoise(states[k], t, None), t, wanted))
    assert torch.allclose(found, torch.stack([*by_hand, states[-1]]), atol=1e-5)


def test_before_its_first_node_a_chain_is_at_its_noise_and_after_its_last_nowhere():
    states = torch.stack([torch.full((1, 1, 1, 1), value) for value in (3.0, 1.0)])
    assert interpolate_trajectory(FlowSchedule(), states, [0.9, 0.2], (0.95, 0.2)).flatten().tolist() == [3, 1]
    with pytest.raises(ValueError, match="the sampling trajectory ends at t = 0.2, before t = 0.1"):
        interpolate_trajectory(FlowSchedule(), states, [0.9, 0.2], (0.1,))


@pytest.mark.slow_for("dit")
def test_the_teachers_copy_does_not_deviate_and_has_its_spectrum(copied):
    model, folder = copied
    settings = recipe_of(entry(folder, 2, **flow_sigmas(model.denoiser, 2)))
    named = load_external(settings, model)
    rows = pd.concat(measure_trajectories(model, named, settings))
    size = sample(model.denoiser, NOISE, model.condition(PROMPTS), num_steps=2)[-1].square().mean().item()
    assert rows["variant"].unique() == ["copy"] and (rows["deviation"] < 1e-6 * max(size, 1)).all()
    spectra = measure_spectra(model, named, settings)
    values = spectra.pivot(index=["noise", "index"], columns="variant", values="singular_value")
    assert values["copy"].tolist() == pytest.approx(values["teacher"].tolist(), rel=0.05)  # of two rounds
