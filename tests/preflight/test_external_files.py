"""The doctor refuses of external models and evaluators what a run refuses, without reading their weights."""

import hub_folders
import pytest
import torch
from safetensors.torch import load_file, save_file

from gad.config import ExternalStudent, load_recipe
from gad.config.starting_student import StartingStudent
from gad.preflight.dry_run import dry_run_teacher
from gad.preflight.external_files import check_evaluators, check_external_students


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("external")
    hub_folders.save_teacher("sd21_ladd", root / "sd")
    hub_folders.save_judges(root)
    return root


def findings(check, settings) -> list[str]:
    return [str(finding) for finding in check(settings) if finding.state != "ok"]


def recipe_of(smoke, **changes):
    entry = ExternalStudent(**{"name": "mine", "num_steps": 4, "scheduler": {"timestep_spacing": "trailing"}} | changes)
    return smoke.model_copy(update={"external_models": [entry]})


FAULTS = {
    "misspelt option": ({"scheduler": {"timestep_spacng": "trailing"}}, "has no option 'timestep_spacng'; did you"),
    "times that it does not take": ({"timesteps": [4, 3, 2, 1]}, "DDIMScheduler takes no timesteps"),
    "weights for an adapter": (
        {"kind": "lora", "source": "{root}/sd/unet", "base": "{root}/sd"},
        "is no LoRA weight that gad can merge",
    ),
    "a text encoder as network": (
        {"kind": "network", "source": "{root}/sd/text_encoder", "base": "{root}/sd"},
        "cannot load a network from",
    ),
    "an autoencoder's weights": (
        {"kind": "network", "source": "{root}/sd/vae", "base": "{root}/sd",
         "weights": "diffusion_pytorch_model.safetensors"},
        "its weights lack",
    ),
    "no file of that name": (
        {"kind": "network", "source": "{root}/sd/unet", "base": "{root}/sd", "weights": "none.safetensors"},
        "cannot load a network from",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "message"), FAULTS.values(), ids=FAULTS)
def test_each_fault_of_an_external_model_has_its_line(smoke, root, changes, message):
    changes = {k: v.format(root=root) if isinstance(v, str) else v for k, v in changes.items()}
    (line,) = findings(check_external_students, recipe_of(smoke, **{"source": str(root / "sd")} | changes))
    assert line.startswith("missing: students, mine: ") and message in line and " -> " in line and "\n" not in line


def test_a_first_timestep_of_little_noise_is_warned_of(smoke, root):
    settings = recipe_of(smoke, source=str(root / "sd"), num_steps=1, scheduler=None)
    (line,) = findings(check_external_students, settings)
    assert line.startswith("warn: students, mine: DDIMScheduler asks its network at timestep")
    assert "{timestep_spacing: trailing}" in line.partition(" -> ")[2]
    assert findings(check_external_students, recipe_of(smoke, source=str(root / "sd"))) == []


@pytest.mark.parametrize("dropped", [False, True])
def test_an_evaluator_that_is_not_whole_has_its_line(smoke, root, tmp_path, dropped):
    hub_folders.save_judges(tmp_path)
    path = tmp_path / "clip" / "model.safetensors"
    if dropped:
        held = load_file(path)
        del held["logit_scale"]
        save_file(held, path, metadata={"format": "pt"})
    control = smoke.control.model_copy(update={"clip": str(tmp_path / "clip")})
    lines = findings(check_evaluators, smoke.model_copy(update={"control": control}))
    assert [line.startswith("missing: control.clip: metric model") for line in lines] == [True] * dropped
    assert all("its weights lack logit_scale" in line for line in lines)


def test_a_dry_run_refuses_a_local_folder_that_could_not_be_loaded_later(smoke, root, tmp_path):
    hub_folders.save_teacher("sd21_ladd", tmp_path / "sd")
    path = tmp_path / "sd" / "unet" / "diffusion_pytorch_model.safetensors"
    save_file(load_file(path) | {"more": torch.ones(1)}, path, metadata={"format": "pt"})
    teacher = smoke.teacher.model_copy(update={"pretrained": str(tmp_path / "sd")})
    with pytest.raises(ValueError, match="unet: its weights hold what UNet2DConditionModel has not: more"):
        dry_run_teacher(smoke.model_copy(update={"teacher": teacher}), depth=1, size=8)


def start_of(name: str, **changes):
    settings = load_recipe(name)
    start = StartingStudent(**{"timesteps": [400], "scheduler": {"class": "DDPMScheduler"}} | changes)
    student = settings.student.model_copy(update={"start": "student", "start_student": start})
    pairs = settings.noise_pairs.model_copy(update={"student_steps": 1})
    return settings.model_copy(update={"student": student, "noise_pairs": pairs, "external_models": []})


def test_a_student_to_start_from_is_examined_on_the_recipes_teacher(root, tmp_path):
    teacher = load_recipe("sd21_ladd").teacher.model_copy(update={"pretrained": str(root / "sd"), "revision": None})
    whole = start_of("sd21_ladd", source=str(root / "sd")).model_copy(update={"teacher": teacher})
    bare = start_of("sd21_ladd", source=str(root / "sd"), kind="network", subfolder="unet")
    bare = bare.model_copy(update={"teacher": teacher})
    assert findings(check_external_students, whole) == findings(check_external_students, bare) == []
    (line,) = findings(check_external_students, start_of("sd21_ladd", source=str(tmp_path / "none")))
    assert line.startswith("missing: students, student.start_student: ") and "neither a folder" in line
    faulty = start_of("sd21_ladd", source=str(root / "sd"), scheduler={"timestep_spacng": "trailing"}, timesteps=None)
    (line,) = findings(check_external_students, faulty.model_copy(update={"teacher": teacher}))
    assert "has no option 'timestep_spacng'" in line and line.endswith("-> correct student.start_student")
