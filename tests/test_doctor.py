"""The doctor says in one line each what a recipe lacks; every broken set-up has a line of its own."""

import importlib.util
import json
from pathlib import Path

import pytest

from gad.config import PromptsConfig, load_recipe
from gad.full_scale import doctor
from gad.full_scale.doctor import check_network, examine, faults_of_pipeline
from gad.full_scale.rounding import check_amplification

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def empty_hub(monkeypatch):
    """No hub cache and no network: what a fresh machine behind a wall looks like."""
    monkeypatch.setattr(doctor, "try_to_load_from_cache", lambda *a, **k: None)
    monkeypatch.setattr(doctor, "HUB", "nowhere.invalid")


@pytest.fixture
def teacher(pipelines, tmp_path):
    folder = tmp_path / "teacher"
    pipelines["flow"].save_pretrained(folder)
    return folder


@pytest.fixture
def settings(teacher, tmp_path):
    """The SANA recipe on a local folder of a tiny pipeline and a local file of prompts; changes by section."""
    (tmp_path / "prompts.csv").write_text("prompt,other\n" + "".join(f"a cat number {i},x\n" for i in range(64)))

    def make(**changes):
        recipe = load_recipe("sana_sid")
        local = {
            "teacher": {"pretrained": str(teacher), "revision": None},
            "noise_pairs": {"num_pairs": 16, "perturbation_scale": 0.1,
                            "prompts": PromptsConfig(file=str(tmp_path / "prompts.csv"))},
            "student": {},
            "sensitivity": {"num_noises": 8, "seeds": None, "fidelity": None, "sister": None},
            "control": {"clip": None, "noise_query": None, "layout": None},
        }  # fmt: skip
        updated = {
            name: getattr(recipe, name).model_copy(update=values | changes.get(name, {}))
            for name, values in local.items()
        }
        asked = updated["control"].diversity.model_copy(update={"prompts": str(tmp_path / "prompts.csv")})
        updated["control"] = updated["control"].model_copy(update={"diversity": asked})
        return recipe.model_copy(update={"students": [], **updated})

    return make


def lines(settings) -> list[str]:
    return [str(finding) for finding in examine(settings)]


def problems(settings) -> list[str]:
    ignored = ("device found", "no estimate of disk")
    return [line for line in lines(settings) if not line.startswith("ok") and not any(word in line for word in ignored)]


def test_a_sound_set_up_lacks_nothing(settings):
    assert problems(settings()) == []


def break_index(folder, tmp_path):
    (folder / "model_index.json").unlink()


def break_class(folder, tmp_path):
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"_class_name": "FluxPipeline"}))


def break_part(folder, tmp_path):
    (folder / "scheduler").rename(folder / "elsewhere")


def break_weights(folder, tmp_path):
    path = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def break_no_weights(folder, tmp_path):
    (folder / "transformer" / "diffusion_pytorch_model.safetensors").unlink()


def break_only_bin(folder, tmp_path):
    weights = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))


def break_config(folder, tmp_path):
    (folder / "vae" / "config.json").write_text("{")


def break_shard(folder, tmp_path):
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors"}}
    (folder / "text_encoder" / "model.safetensors.index.json").write_text(json.dumps(index))


@pytest.mark.parametrize(
    "damage, told",
    [
        (break_index, "has no readable model_index.json"),
        (break_class, "FluxPipeline is not a pipeline that gad can use"),
        (break_part, "has no folder scheduler/"),
        (break_weights, "transformer/diffusion_pytorch_model.safetensors is cut off or broken"),
        (break_no_weights, "transformer/ has no weights in safetensors -> fetch"),
        (break_only_bin, "transformer/ has no weights in safetensors -> convert its .bin files"),
        (break_config, "vae/ has no readable config.json"),
        (break_shard, "text_encoder/ lacks model-00001-of-00002.safetensors"),
    ],
)
def test_each_fault_of_a_teachers_folder_has_its_line(settings, teacher, tmp_path, damage, told):
    damage(teacher, tmp_path)
    found = problems(settings())
    assert sum(told in line for line in found) == 1
    assert all(line.startswith("missing") and "\n" not in line for line in found[:-1])
    assert found[-1].startswith("warn: nowhere.invalid cannot be reached")


@pytest.mark.parametrize(
    "changes, told",
    [
        ({"teacher": {"pretrained": "owner/name", "revision": "abc"}}, "hf download owner/name --revision abc"),
        ({"noise_pairs": {"prompts": PromptsConfig(file="/nowhere/p.txt")}}, "no prompt file /nowhere/p.txt"),
        (
            {"noise_pairs": {"prompts": PromptsConfig(file="m.parquet", dataset="o/n", revision="main")}},
            "hf download --repo-type dataset o/n m.parquet --revision main",
        ),
        ({"noise_pairs": {"num_pairs": 100}}, "64 prompts for 108 samples"),
        ({"noise_pairs": {"perturbation_scale": 0.01}}, "drowns in the rounding of bfloat16 -> use h >= 0.039"),
        ({"student": {"device": "cuda"}}, "student.device cuda is not here -> use cpu or auto"),
        ({"control": {"device": "cuda"}}, "control.device cuda is not here -> use cpu or auto"),
        ({"student": {"optimizer": "adamw_8bit"}}, "pip install bitsandbytes"),
        ({"student": {"dtype": "float16", "device": "cpu"}}, "float16 without a CUDA GPU is slow"),
    ],
)
def test_each_fault_of_a_recipe_on_this_machine_has_its_line(settings, changes, told):
    if "cuda" in told and doctor.torch.cuda.is_available():
        pytest.skip("a GPU is here")
    assert sum(told in line for line in problems(settings(**changes))) == 1


def test_what_a_recipe_borrows_has_a_line_each():
    told = problems(load_recipe("sd21_ladd"))
    for key in (
        "control.clip: openai/clip-vit-base-patch32",
        "control.layout.detector: facebook/detr-resnet-50",
        "control.layout.boxes_file: there is no file data/prompts/boxdiff.json",
        "control.diversity.prompts: there is no file data/prompts/captions.csv",
        "sensitivity.seeds.classifier: facebook/convnext-tiny-224",
        "sensitivity.fidelity.scores.hpsv2: models/hpsv2",
        "students, sd_turbo: stabilityai/sd-turbo",
    ):
        assert sum(line.startswith(f"missing: {key}") and " -> " in line for line in told) == 1, key


def test_a_column_that_is_not_there_is_named(settings, tmp_path):
    source = PromptsConfig(file=str(tmp_path / "prompts.csv"), column="caption")
    assert any("has no column 'caption'" in line for line in problems(settings(noise_pairs={"prompts": source})))


def test_a_disk_that_is_too_small_is_told_with_what_fills_it(settings, monkeypatch):
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 10**9}))
    recipe = load_recipe("pixart_tdm")
    told = [line for line in lines(recipe) if line.startswith("missing: disk")]
    assert len(told) == 1 and "noise pairs 19.7" in told[0] and "1 GB free" in told[0]


def test_a_machine_without_a_network_is_told_where_to_put_what():
    finding = check_network()
    assert finding.state == "warn" and "HF_HOME" in finding.do


def test_a_whole_folder_has_no_fault(saved):
    assert list(faults_of_pipeline(saved)) == []


def test_the_command_ends_with_1_where_something_is_missing(capsys):
    spec = importlib.util.spec_from_file_location("doctor_command", ROOT / "pipelines" / "doctor.py")
    command = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(command)
    assert command.main(["smoke"]) == 0
    assert command.main(["pixart_tdm"]) == 1
    assert command.main(["nothing"]) == 1
    out = capsys.readouterr().out
    assert "missing: unknown recipe 'nothing'" in out and "missing: teacher PixArt-alpha" in out


def told_of_amplification(recipe, **student):
    settings = load_recipe(recipe)
    settings = settings.model_copy(update={"student": settings.student.model_copy(update=student)})
    return [finding.what for finding in check_amplification(settings)]


def test_half_precision_is_warned_of_where_a_noise_prediction_is_amplified():
    assert told_of_amplification("pixart_tdm") == [
        "student.dtype: the rounding of float16 grows 157 times from eps to x0 at t = 1, to 0.08"
    ]
    assert told_of_amplification("pixart_tdm", dtype="float32") == []
    assert told_of_amplification("sana_sid") == [] and told_of_amplification("smoke") == []
