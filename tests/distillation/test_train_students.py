"""The chain from noise pairs to a measured student, on each tiny text-to-image family."""

import pandas as pd
import pytest
import torch
from diffusers import DiffusionPipeline, DPMSolverMultistepScheduler, PNDMScheduler
from tiny import PROMPTS

from gad.config import NoisePairsConfig, SensitivityConfig, StudentConfig
from gad.config.starting_student import StartingStudent
from gad.data.noise_pairs import NoisePairs, noise_pair_of
from gad.data.pair_generation import generate_noise_pairs
from gad.data.prompts import prompt_of
from gad.diffusion.noise import draw_noise
from gad.diffusion.retimed_schedule import RetimedSchedule
from gad.diffusion.sampling import sample
from gad.distillation.cache_keys import student_cache_key
from gad.distillation.objective import build_objective
from gad.distillation.train_students import train_student_seeds
from gad.evaluation.sensitivity.end_to_end import end_to_end_kinds, measure_end_to_end, summarise_end_to_end
from gad.evaluation.sensitivity.initialisation import INITIALISATION, initialisation_metrics
from gad.evaluation.sensitivity.trajectory import measure_trajectories, summarise_trajectories
from gad.models.model import Model, load_model
from gad.models.pipeline_loading import load_pipeline
from gad.models.pipelines import pipeline_denoiser, pipeline_network
from gad.models.sampler import Sampler
from gad.models.students import save_student, start_student, student_seed_dir, student_usage_line

PAIRS = NoisePairsConfig(
    num_pairs=4,
    direction="low_frequency",
    perturbation_scale=0.1,
    step="spherical",
    teacher_steps=2,
    guidance_scale=3.0,
    student_steps=1,
    batch_size=3,
    shard_size=4,
)
STUDENT = StudentConfig(
    num_steps=3, batch_size=2, lr=1e-3, warmup_steps=0, gad_weight=1.0, ema_decay=0.5, log_every=1, seeds=[0, 1]
)
SENSITIVITY = SensitivityConfig(
    num_noises=2,
    num_directions=2,
    directions=["isotropic", "low_frequency"],
    method="exact",
    batch_size=2,
    finite_step=0.5,
)


@pytest.fixture(scope="module")
def teacher(saved):
    return load_model(saved)


@pytest.fixture(scope="module")
def pairs(teacher, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs")
    list(generate_noise_pairs(folder, teacher, "hash", PAIRS))
    return NoisePairs(folder)


@pytest.fixture(scope="module")
def students(teacher, pairs, tmp_path_factory):
    """The folder of two trained seeds."""
    folder = tmp_path_factory.mktemp("student") / "gad"
    list(train_student_seeds(teacher, pairs, STUDENT, variant="gad", folder=folder, live=folder.parent / "live"))
    return folder


def weights(model):
    return torch.cat([p.flatten() for p in model.denoiser.network.parameters()])


@torch.no_grad()
def test_stored_answers_are_guided_and_each_has_its_own_prompt(teacher, pairs):
    ids = torch.arange(4)
    pair = noise_pair_of(ids, teacher.latent_shape, PAIRS)
    expected = sample(teacher.guided(3.0), pair.perturbed, teacher.condition(prompt_of(ids)), num_steps=2)
    assert torch.allclose(pairs.trajectories(ids, 1), expected[[0, 2]].transpose(0, 1), atol=1e-4)


def test_every_seed_leaves_the_teacher_its_own_way(teacher, students):
    zero, one = (load_model(student_seed_dir(students, seed)) for seed in (0, 1))
    assert not torch.equal(weights(zero), weights(teacher))
    assert not torch.equal(weights(zero), weights(one))


def test_training_leaves_the_teacher_alone(saved, teacher, students):
    assert torch.equal(weights(load_model(saved)), weights(teacher))


def test_a_killed_seed_goes_on_to_the_same_weights(teacher, pairs, students, tmp_path):
    config = STUDENT.model_copy(update={"checkpoint_every": 1, "seeds": [1]})
    options = {"variant": "gad", "folder": tmp_path / "gad", "live": tmp_path / "live"}
    run = train_student_seeds(teacher, pairs, config, **options)
    next(run)
    next(run)
    run.close()
    list(train_student_seeds(teacher, pairs, config, **options))
    resumed, whole = (load_model(student_seed_dir(folder, 1)) for folder in (tmp_path / "gad", students))
    assert torch.equal(weights(resumed), weights(whole))


HUB_SCHEDULERS = {  # as the published pipelines have them
    "unet": PNDMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True,
                          steps_offset=1),
    "dit": DPMSolverMultistepScheduler(beta_start=0.0001, beta_end=0.02),
    "flow": DPMSolverMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0),
}  # fmt: skip


@pytest.mark.parametrize("num_steps", [1, 2])
def test_a_student_is_saved_with_a_scheduler_that_samples_it_whatever_its_teacher_came_with(
    saved, backbone, num_steps, tmp_path
):
    whole = load_pipeline(saved)
    whole.scheduler = HUB_SCHEDULERS[backbone]
    config = pipeline_network(whole).config
    teacher = Model(pipeline_denoiser(whole), (config.in_channels, config.sample_size, config.sample_size), whole)
    save_student(start_student(teacher, STUDENT, seed=0), teacher, tmp_path / "student")
    assert whole.scheduler is HUB_SCHEDULERS[backbone]
    student = load_model(tmp_path / "student")
    noise = draw_noise([3], student.latent_shape, seed=0)
    line = student_usage_line(student, num_steps).removesuffix(")")
    call = f"{line}, latents=noise, output_type='latent')"
    latents = eval(call, {"pipe": student.pipeline, "prompt": PROMPTS[0], "noise": noise}).images
    ours = sample(student.denoiser, noise, student.condition(PROMPTS[:1]), num_steps=num_steps)[-1]
    assert torch.allclose(latents, ours, rtol=1e-4, atol=1e-3 * ours.abs().max().item())


def test_the_usage_line_runs_in_stock_diffusers_and_gives_the_students_picture(students):
    student = load_model(student_seed_dir(students, 0))
    prompt = prompt_of([7])[0]
    noise = torch.randn(1, *student.latent_shape, generator=torch.Generator().manual_seed(3))
    pipe = DiffusionPipeline.from_pretrained(student_seed_dir(students, 0))
    pipe.set_progress_bar_config(disable=True)
    for num_steps in (1, 2):
        line = student_usage_line(student, num_steps).removesuffix(")")
        call = f"{line}, generator=torch.manual_seed(3), output_type='pt')"  # which draws the noise at its own size
        image = 2 * eval(call, {"pipe": pipe, "prompt": prompt, "torch": torch}).images - 1
        ours = Sampler("gad", 0, student, num_steps).generate(noise, [prompt])
        assert torch.allclose(image, ours, atol=1e-3)


def test_sensitivity_measures_students_along_both_kinds_of_direction(teacher, students, smoke):
    settings = smoke.model_copy(update={"noise_pairs": PAIRS, "sensitivity": SENSITIVITY})
    named = [("gad", seed, load_model(student_seed_dir(students, seed))) for seed in (0, 1)]
    table = summarise_end_to_end(pd.concat(measure_end_to_end(teacher, named, settings)))
    assert table["directions"].tolist() == [*end_to_end_kinds(SENSITIVITY)] * 2
    assert [*end_to_end_kinds(SENSITIVITY)] == [
        "isotropic",
        "low_frequency",
        "isotropic, h = 0.5",
        "low_frequency, h = 0.5",
    ]
    assert table.notna().all(axis=None)
    assert summarise_trajectories(pd.concat(measure_trajectories(teacher, named, settings)))["deviation"].gt(0).all()


def test_a_copy_of_the_teacher_is_measured_as_equal(teacher, smoke):
    pairs = PAIRS.model_copy(update={"guidance_scale": 1.0, "student_steps": 2})
    isotropic = SENSITIVITY.model_copy(update={"directions": ["isotropic"]})
    settings = smoke.model_copy(update={"noise_pairs": pairs, "sensitivity": isotropic})
    row = summarise_end_to_end(pd.concat(measure_end_to_end(teacher, [("copy", 0, teacher)], settings))).iloc[0]
    gains = row["jacobian_norm_ratio"], row["gain_median"]
    assert (row["jvp_cosine"], *gains) == pytest.approx((1, 1, 1), abs=1e-4)
    assert row["pointwise_mse"] < 1e-8 and row["spectral_kl"] < 1e-6


@pytest.mark.slow_for("dit")
def test_where_students_start_is_measured_as_a_student_of_no_steps(teacher, smoke):
    with_singular = SENSITIVITY.model_copy(update={"directions": ["singular", "isotropic", "low_frequency"]})
    settings = smoke.model_copy(update={"noise_pairs": PAIRS, "sensitivity": with_singular})
    start = Model(start_student(teacher, STUDENT, seed=0), teacher.latent_shape, teacher.pipeline)
    plain = smoke.model_copy(update={"noise_pairs": PAIRS, "sensitivity": SENSITIVITY})
    table = summarise_end_to_end(pd.concat(measure_end_to_end(teacher, [("start", 0, start)], plain))).set_index(
        "directions"
    )
    found = initialisation_metrics(teacher, settings)
    assert list(found) == list(table.index) == list(end_to_end_kinds(SENSITIVITY))  # singular ones are left out
    for kind, row in table.iterrows():
        metrics = found[kind][INITIALISATION]
        for name, value in row.drop(["variant", "seed"]).items():
            assert metrics[name]["mean"] == pytest.approx(value, rel=1e-5) and metrics[name]["n"] == 2
        assert metrics["jvp_cosine"]["low"] <= metrics["jvp_cosine"]["mean"] <= metrics["jvp_cosine"]["high"]
        assert metrics["jacobian_norm_ratio"]["low"] is None


def test_students_of_points_have_no_start_to_measure(point_teacher, smoke):
    with pytest.raises(ValueError, match="start from random weights"):
        initialisation_metrics(point_teacher, smoke)


OWN = {  # of a tiny student of each family, by its class: times of its own
    "StableDiffusionPipeline": {"scheduler": {"class": "DDPMScheduler"}, "timesteps": [400]},
    "PixArtAlphaPipeline": {
        "scheduler": {"class": "DPMSolverMultistepScheduler", "solver_order": 1, "final_sigmas_type": "zero"},
        "timesteps": [899, 674, 449, 150],
    },
    "SanaPipeline": {"sigmas": [1.0, 0.9, 0.5, 0.2]},
    "StableDiffusionXLPipeline": {
        "scheduler": {"class": "DPMSolverMultistepScheduler", "solver_order": 1, "final_sigmas_type": "zero"},
        "timesteps": [899, 674, 449, 150],
    },
    "StableDiffusion3Pipeline": {"sigmas": [1.0, 0.9, 0.5, 0.2]},
    "FluxPipeline": {"sigmas": [1.0, 0.9, 0.5, 0.2]},
}


def test_a_student_at_its_own_times_is_trained_on_from_where_it_is(hub_run, tmp_path):
    settings, teacher, pairs, root = hub_run
    own, steps = OWN[type(teacher.pipeline).__name__], pairs.config.student_steps
    start = StartingStudent(source=str(root / "hub"), **own)
    target = "next_state" if steps == 1 else "end_to_end"
    changes = {"start": "student", "start_student": start, "target": target, "num_steps": 1, "lr": 1e-4}
    config = settings.student.model_copy(update=changes | {"ema_decay": 0.0, "warmup_steps": 0})
    if steps > 1:
        wrong = config.model_copy(update={"target": "next_state"})
        student = start_student(teacher, config, seed=0, student_steps=steps)
        with pytest.raises(ValueError, match="times of its own .*set student.target: end_to_end"):
            build_objective(teacher, student, pairs, wrong, variant="gad", seed=0)
    made = train_student_seeds(teacher, pairs, config, variant="gad", folder=tmp_path / "gad", live=tmp_path / "live")
    assert [state.step for _, state in made] == [1]
    student = load_model(student_seed_dir(tmp_path / "gad", 0), teacher=teacher)
    assert isinstance(student.denoiser.schedule, RetimedSchedule)
    before = start_student(teacher, config, seed=0, student_steps=steps)
    assert student.denoiser.schedule.own == pytest.approx(before.schedule.own)
    moved = [(a - b).abs().max() for a, b in zip(weights_of(student.denoiser), weights_of(before), strict=True)]
    assert 0 < max(moved) <= 2e-4


def weights_of(denoiser):
    return [parameter.detach() for parameter in denoiser.network.parameters()]


def test_students_of_another_start_are_not_taken_for_these(smoke, point_pairs, tmp_path):
    (tmp_path / "start").mkdir()
    (tmp_path / "start" / "weights").write_text("1")
    start = StartingStudent(source=str(tmp_path / "start"))
    config = smoke.student.model_copy(update={"start": "student", "start_student": start})
    keys = [student_cache_key(settings, "gad", point_pairs) for settings in (smoke.student, config)]
    (tmp_path / "start" / "weights").write_text("2")
    keys.append(student_cache_key(config, "gad", point_pairs))
    assert len(set(keys)) == 3
