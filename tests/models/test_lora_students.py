"""A saved adapter is loaded by stock diffusers or peft, and samples what ours does."""

import hub_folders
import pytest
import torch
from diffusers import DiffusionPipeline
from diffusers.schedulers import DDIMScheduler, FlowMatchEulerDiscreteScheduler
from moved_adapter import LORA, moved
from tiny import PROMPTS

from gad.config import ExternalStudent
from gad.diffusion.sampling import sample
from gad.diffusion.schedule import FlowSchedule
from gad.distillation.learning_weights import learning_parameters, let_weights_learn
from gad.models.adapter import adapter_base_parameters, adapter_config, adapter_on_shared_base, adapter_weights
from gad.models.external import load_external_student
from gad.models.lora_students import lora_student_file, reads_adapters
from gad.models.model import load_model
from gad.models.pipelines import pipeline_family
from gad.models.students import load_students, save_student, student_seed_dir, student_usage_line
from gad.models.weights_hash import weights_hash
from gad.runtime import paths

SCHEDULERS = {kind.__name__: kind for kind in (DDIMScheduler, FlowMatchEulerDiscreteScheduler)}


@pytest.fixture(scope="module", params=hub_folders.BUILDERS)
def made(request, tmp_path_factory):
    """A family's teacher and its folder, a student that is an adapter, and its folder."""
    root = tmp_path_factory.mktemp(request.param)
    hub_folders.save_teacher(request.param, root / "hub")
    teacher = load_model(root / "hub", side=hub_folders.SIDE)
    student = moved(adapter_on_shared_base(teacher.denoiser, adapter_config(LORA)))
    save_student(student, teacher, root / "student")
    return teacher, student, root


def draw(teacher):
    return torch.randn(2, *teacher.latent_shape, generator=torch.Generator().manual_seed(5))


def ours(teacher, denoiser, steps):
    noise = draw(teacher)
    with torch.no_grad():
        return noise, sample(denoiser, noise, teacher.condition(PROMPTS), num_steps=steps)[-1]


@pytest.mark.parametrize("steps", [1, 4])
def test_stock_libraries_sample_the_folder_as_we_do(made, steps):
    teacher, student, root = made
    noise, expected = ours(teacher, student, steps)
    pipe, folder = DiffusionPipeline.from_pretrained(root / "hub"), str(root / "student")
    pipe.set_progress_bar_config(disable=True)
    line = student_usage_line(load_model(root / "student", teacher=teacher), steps)
    names = {"pipe": pipe, "folder": folder, **SCHEDULERS}
    if not reads_adapters(pipe):
        from peft import PeftModel

        names["PeftModel"] = PeftModel
    *prepare, call = line.split("; ")
    assert ("load_lora_weights" in line) == reads_adapters(pipe) == (type(pipe).__name__ != "PixArtAlphaPipeline")
    exec("\n".join(prepare), names)
    options = eval(call.replace("pipe(prompt, ", "dict("))
    with torch.no_grad():
        theirs = hub_folders.stock_images(pipe, noise, PROMPTS, **options)
    assert (teacher.decode(expected) / 2 + 0.5 - theirs).abs().max() <= 1e-4


@pytest.mark.parametrize("made", ["sdxl_tdm", "sd35_sid", "flux_ladd"], indirect=True, scope="module")
def test_an_adapter_that_learned_a_few_steps_is_sampled_alike_by_the_stock_pipeline(made, tmp_path):
    teacher, _, root = made
    student = adapter_on_shared_base(teacher.denoiser, adapter_config(LORA))
    let_weights_learn(student.network)
    noise, conditioning = draw(teacher), teacher.condition(PROMPTS)
    optimizer, t = torch.optim.AdamW(learning_parameters(student.network), lr=1e-2), torch.ones(2)
    losses = []
    for _ in range(4):  # towards 0: any goal that the teacher is not at
        loss = student(noise, t, conditioning).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    save_student(student, teacher, tmp_path / "student")
    expected = ours(teacher, student, 2)[1]
    assert not torch.allclose(expected, ours(teacher, teacher.denoiser, 2)[1], atol=1e-3)
    model = load_model(tmp_path / "student", teacher=teacher)
    pipe = DiffusionPipeline.from_pretrained(root / "hub")
    pipe.load_lora_weights(str(tmp_path / "student"))
    pipe.scheduler = model.pipeline.scheduler
    options = eval(student_usage_line(model, 2).split("; ")[-1].replace("pipe(prompt, ", "dict("))
    with torch.no_grad():
        theirs = hub_folders.stock_images(pipe, noise, PROMPTS, **options)
    assert (teacher.decode(expected) / 2 + 0.5 - theirs).abs().max() <= 1e-4


def test_a_folder_is_read_back_on_the_teachers_own_weights(made, monkeypatch, tmp_path):
    teacher, student, _ = made
    monkeypatch.setattr(paths, "DATA", tmp_path)
    save_student(student, teacher, student_seed_dir(paths.stage_dir("smoke", "student", "gad"), 0))
    ((_, _, model),) = load_students("smoke", teacher)
    own = {parameter.data_ptr() for parameter in teacher.denoiser.network.parameters()}
    assert {parameter.data_ptr() for parameter in adapter_base_parameters(model.denoiser.network)} == own
    assert torch.equal(ours(teacher, model.denoiser, 2)[1], ours(teacher, student, 2)[1])
    assert model.pipeline.vae is teacher.pipeline.vae and model.latent_shape == teacher.latent_shape
    network = getattr(model.pipeline, pipeline_family(model.pipeline).network)
    assert network is model.denoiser.network
    assert getattr(teacher.pipeline, pipeline_family(teacher.pipeline).network) is teacher.denoiser.network
    assert weights_hash(model, teacher=teacher) != weights_hash(teacher)


def test_a_folder_holds_the_adapter_alone_and_is_the_same_at_every_writing(made, tmp_path):
    teacher, student, root = made
    save_student(student, teacher, tmp_path / "again")
    names = sorted(str(path.relative_to(root / "student")) for path in (root / "student").rglob("*") if path.is_file())
    assert "scheduler/scheduler_config.json" in names and len(names) <= 3
    for name in names:
        assert (root / "student" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    weights = sum(weight.numel() for weight in adapter_weights(student.network).values())
    assert lora_student_file(root / "student").stat().st_size < 4 * weights + 20_000


def test_a_folder_is_an_external_model_as_well(made):
    teacher, student, root = made
    steps = 2
    scheduler = {
        "class": "DDIMScheduler",
        "timestep_spacing": "trailing",
        "set_alpha_to_one": True,
        "clip_sample": False,
    }
    if isinstance(teacher.denoiser.schedule, FlowSchedule):
        scheduler, steps = None, 1  # by itself Euler's scheduler ends at other times
    entry = ExternalStudent(name="ours", source=str(lora_student_file(root / "student")), kind="lora",
                            base=str(root / "hub"), num_steps=steps, scheduler=scheduler,
                            latent_side=hub_folders.SIDE)  # fmt: skip
    model = load_external_student(entry, teacher)
    noise, expected = ours(teacher, student, steps)
    theirs = model.denoiser(noise, torch.ones(2), teacher.condition(PROMPTS))
    assert torch.allclose(theirs, expected, atol=1e-4 * expected.abs().max().item())


def test_without_its_teacher_or_on_another_one_a_folder_is_refused_in_one_line(made, tmp_path):
    teacher, _, root = made
    with pytest.raises(ValueError, match="holds a LoRA, which is loaded on its teacher"):
        load_model(root / "student")
    other = next(name for name in hub_folders.BUILDERS if name not in str(root))
    hub_folders.save_teacher(other, tmp_path / "other")
    with pytest.raises(ValueError) as caught:
        load_model(root / "student", teacher=load_model(tmp_path / "other"))
    assert "\n" not in str(caught.value)
