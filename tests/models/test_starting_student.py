"""A few-step student from elsewhere is called where its own sampler calls it; saved, stock diffusers does so too."""

import copy

import hub_folders
import pytest
import torch
from diffusers import DiffusionPipeline
from moved_adapter import LORA, moved
from tiny import PROMPTS

from gad.config import ExternalStudent, StudentConfig, load_recipe
from gad.config.starting_student import StartingStudent
from gad.diffusion.retimed_schedule import RetimedSchedule
from gad.diffusion.sampling import sample
from gad.models.adapter import adapter_config, adapter_on_shared_base, adapter_weights
from gad.models.external import load_external_student
from gad.models.lora_students import lora_student_file
from gad.models.model import load_model
from gad.models.pipelines import pipeline_family
from gad.models.saved_folders import save_diffusers_pipeline
from gad.models.shared_parts import pipeline_with_parts
from gad.models.students import save_student, start_student, student_usage_line
from gad.preflight.architectures import ARCHITECTURES, architecture_of
from gad.preflight.external_files import check_external_students

TRAILING = {"class": "EulerDiscreteScheduler", "timestep_spacing": "trailing"}  # as the models called Turbo have it
DDIM = {"class": "DDIMScheduler", "timestep_spacing": "trailing", "clip_sample": False}
DMD = {"class": "DDPMScheduler", "clip_sample": False}


@pytest.fixture(scope="module")
def teachers(tmp_path_factory):
    """Each family's teacher by the recipe's name, its folder, and that of a student with other weights."""
    found = {}
    for name in hub_folders.BUILDERS:
        root = tmp_path_factory.mktemp(name)
        hub_folders.save_teacher(name, root / "hub")
        teacher = load_model(root / "hub", side=hub_folders.SIDE)
        network = teacher.denoiser.copied().network
        for number, parameter in enumerate(network.parameters()):
            generator = torch.Generator().manual_seed(number)
            parameter.data += 0.02 * torch.randn(parameter.shape, generator=generator)
        part = pipeline_family(teacher.pipeline).network
        save_diffusers_pipeline(pipeline_with_parts(teacher.pipeline, **{part: network}), root / "student")
        found[name] = (teacher, root)
    return found


def config_of(smoke, starting, **changes) -> StudentConfig:
    return StudentConfig(
        **smoke.student.model_dump()
        | {"start": "student", "start_student": starting, "hidden": 128, "layers": 4}
        | changes
    )


def noise_of(teacher):
    return torch.randn(2, *teacher.latent_shape, generator=torch.Generator().manual_seed(5))


def x0_of(teacher, denoiser, steps):
    with torch.no_grad():
        return sample(denoiser, noise_of(teacher), teacher.condition(PROMPTS), num_steps=steps)[-1]


def own_x0(teacher, root, steps, **options):
    """What the student's own sampler makes, by the code that measures external models."""
    entry = ExternalStudent(name="own", source=str(root / "student"), num_steps=steps,
                            latent_side=hub_folders.SIDE, **options)  # fmt: skip
    return load_external_student(entry, teacher).denoiser(noise_of(teacher), torch.ones(2), teacher.condition(PROMPTS))


CASES = [  # family, steps, what the recipe says of the sampler, and how near to its own samples ours are
    ("sd21_ladd", 1, {"scheduler": TRAILING}, 0.05),  # shows its network .998 z instead of z
    ("sd21_ladd", 4, {"scheduler": TRAILING}, 0.05),
    ("sd21_ladd", 1, {"scheduler": DMD, "timesteps": [400]}, 1e-4),
    ("pixart_tdm", 1, {"scheduler": DMD, "timesteps": [400]}, 1e-4),
    ("pixart_tdm", 1, {"scheduler": DDIM}, 1e-4),
    ("sana_sid", 4, {"sigmas": [1.0, 0.75, 0.5, 0.25]}, 1e-4),
    ("sana_sid", 2, {"sigmas": [1.0, 0.3]}, 1e-4),
    ("sdxl_tdm", 1, {"scheduler": TRAILING}, 0.05),
    ("sdxl_tdm", 1, {"scheduler": DMD, "timesteps": [400]}, 1e-4),
    ("sd35_sid", 2, {"sigmas": [1.0, 0.3]}, 1e-4),
    ("flux_ladd", 2, {"sigmas": [1.0, 0.3]}, 1e-4),
    ("flux_ladd", 4, {}, 1e-4),
]


@pytest.mark.parametrize(("name", "steps", "options", "near"), CASES)
def test_it_samples_as_its_own_scheduler_does(teachers, smoke, name, steps, options, near):
    teacher, root = teachers[name]
    config = config_of(smoke, {"source": str(root / "student"), **options})
    student = start_student(teacher, config, seed=0, student_steps=steps)
    ours, theirs = x0_of(teacher, student, steps), own_x0(teacher, root, steps, **options)
    assert (ours - theirs).norm() / theirs.norm() < near
    assert isinstance(student.schedule, RetimedSchedule) == (options.get("timesteps") == [400] or steps == 2)


FIRST_ORDER = {"class": "DPMSolverSinglestepScheduler", "solver_order": 1, "final_sigmas_type": "zero"}
SAVED = [
    *(case[:3] for case in (CASES[2], CASES[3], *CASES[6:-1]) if case[3] < 0.01),
    ("sd21_ladd", 3, {"scheduler": FIRST_ORDER, "timesteps": [899, 500, 200]}),
]


@pytest.mark.parametrize(("name", "steps", "options"), SAVED)
def test_it_is_saved_with_its_own_times_which_stock_diffusers_walks(teachers, smoke, tmp_path, name, steps, options):
    teacher, root = teachers[name]
    config = config_of(smoke, {"source": str(root / "student"), **options})
    student = start_student(teacher, config, seed=0, student_steps=steps)
    save_student(student, teacher, tmp_path / "saved")
    model = load_model(tmp_path / "saved", teacher=teacher)
    expected = x0_of(teacher, student, steps)
    assert torch.equal(x0_of(teacher, model.denoiser, steps), expected)
    pipe = DiffusionPipeline.from_pretrained(tmp_path / "saved")
    pipe.set_progress_bar_config(disable=True)
    options = eval(student_usage_line(model, steps).replace("pipe(prompt, ", "dict("))
    with torch.no_grad():
        theirs = hub_folders.stock_images(pipe, noise_of(teacher), PROMPTS, **options)
    assert (teacher.decode(expected) / 2 + 0.5 - theirs).abs().max() <= 1e-4


def test_a_lora_of_the_teacher_is_merged_into_a_copy_or_trained_on(teachers, smoke, tmp_path):
    teacher, _ = teachers["sd21_ladd"]
    first = moved(adapter_on_shared_base(teacher.denoiser, adapter_config(LORA)))
    save_student(first, teacher, tmp_path / "lora")
    starting = {"source": str(lora_student_file(tmp_path / "lora")), "kind": "lora"}
    starting["scheduler"] = DDIM
    expected, before = x0_of(teacher, first, 1), copy.deepcopy(teacher.denoiser.network.state_dict())
    merged = start_student(teacher, config_of(smoke, starting), seed=0)
    assert torch.allclose(x0_of(teacher, merged, 1), expected, atol=1e-4 * expected.abs().max().item())
    assert not adapter_weights(merged.network)
    again = start_student(teacher, config_of(smoke, starting, lora={"rank": 4}), seed=0)
    assert torch.equal(x0_of(teacher, again, 1), expected) and adapter_weights(again.network)
    assert all(torch.equal(value, before[key]) for key, value in teacher.denoiser.network.state_dict().items())
    with pytest.raises(ValueError, match="student.lora.rank is 8, the adapter in .* has 4; set that"):
        start_student(teacher, config_of(smoke, starting, lora={"rank": 8}), seed=0)


def test_a_bare_network_takes_the_rest_from_the_teacher(teachers, smoke):
    teacher, root = teachers["pixart_tdm"]
    starting = {"source": str(root / "student"), "kind": "network", "subfolder": "transformer", "scheduler": DMD}
    whole = config_of(smoke, {"source": str(root / "student"), "scheduler": DMD, "timesteps": [400]})
    bare = config_of(smoke, starting | {"timesteps": [400]})
    made = [x0_of(teacher, start_student(teacher, config, seed=0), 1) for config in (whole, bare)]
    assert torch.equal(*made)


@pytest.mark.parametrize(
    ("name", "scheduler"),
    [("sd21_ladd", {"class": "LCMScheduler"}), ("pixart_tdm", DDIM | {"clip_sample": True})],
)
def test_a_sampler_that_adds_noise_or_clips_is_told(teachers, smoke, name, scheduler):
    teacher, root = teachers[name]
    starting = {"source": str(root / "student"), "scheduler": scheduler}
    told = f"its {scheduler['class']} gives other samples than DDIM at the same times"
    with pytest.warns(UserWarning, match=told):
        start_student(teacher, config_of(smoke, starting), seed=0, student_steps=4)


def test_the_repair_of_sdxl_turbo_begins_where_the_student_itself_samples(teachers):
    teacher, root = teachers["sdxl_tdm"]
    recipe = load_recipe("repair_sdxl_turbo")
    starting = recipe.student.start_student.model_copy(update={"source": str(root / "student")})
    config, steps = recipe.student.model_copy(update={"start_student": starting}), recipe.noise_pairs.student_steps
    student = start_student(teacher, config, seed=0, student_steps=steps)
    ours = x0_of(teacher, student, steps)
    theirs = own_x0(teacher, root, steps, scheduler=recipe.external_models[0].scheduler)
    assert (ours - theirs).norm() / theirs.norm() < 0.05
    small = recipe.model_copy(update={"student": config, "external_models": []})
    assert not list(check_external_students(small))
    assert architecture_of(recipe.teacher.pretrained) is ARCHITECTURES["sdxl"]


FAULTS = [
    ({"source": "no/such/folder"}, 1, "no/such/folder"),
    ({"scheduler": {"class": "HeunDiscreteScheduler", "timestep_spacing": "trailing"}}, 2, "makes 3 calls in 2 steps"),
    ({"scheduler": {"prediction_type": "v_prediction"}}, 1, "it predicts v, the teacher eps"),
    ({"scheduler": {"beta_end": 0.03}}, 1, "another noise schedule than the teacher's"),
]


@pytest.mark.parametrize(("changes", "steps", "message"), FAULTS)
@pytest.mark.filterwarnings("ignore:student.start_student")
def test_what_is_no_student_of_this_teacher_is_refused_in_one_line(teachers, smoke, changes, steps, message):
    teacher, root = teachers["sd21_ladd"]
    config = config_of(smoke, {"source": str(root / "student")} | changes)
    with pytest.raises(ValueError, match=message) as caught:
        start_student(teacher, config, seed=0, student_steps=steps)
    assert "\n" not in str(caught.value)


def test_a_student_of_another_teacher_is_refused_in_one_line(teachers, smoke):
    teacher, other = teachers["sd21_ladd"][0], teachers["pixart_tdm"][1]
    with pytest.raises(ValueError, match="its network is a PixArtTransformer2DModel, the teacher's a UNet2D") as caught:
        start_student(teacher, config_of(smoke, {"source": str(other / "student")}), seed=0)
    assert "\n" not in str(caught.value)


def test_what_an_external_model_cannot_be_no_starting_student_is():
    with pytest.raises(ValueError, match="timesteps or sigmas, not both"):
        StartingStudent(source="a/b", timesteps=[400], sigmas=[0.4])
    assert StartingStudent(source="a/b", timesteps=[999, 400]).as_external(2).num_steps == 2
    assert load_recipe("smoke").student.start_student is None
