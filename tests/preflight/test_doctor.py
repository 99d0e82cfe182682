"""The doctor says in one line each what a recipe lacks; every broken set-up has a line of its own."""

from pathlib import Path

import pytest
from damage import changed, cut, dangling, emptied, header, removed, renamed, sharded, written
from scripts import load_script

from gad.config import PromptsConfig, load_recipe
from gad.config.external import ExternalStudent
from gad.preflight import doctor, external_files
from gad.preflight import pipeline_folder as folders
from gad.preflight.control_files import check_control_files, check_detector_labels
from gad.preflight.doctor import examine_recipe
from gad.preflight.external_files import check_hub_reachable
from gad.preflight.pipeline_folder import faults_of_pipeline
from gad.preflight.rounding import check_amplification

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def empty_hub(monkeypatch):
    """No hub cache and no network: what a fresh machine behind a wall looks like."""
    monkeypatch.setattr(doctor, "try_to_load_from_cache", lambda *a, **k: None)
    monkeypatch.setattr(external_files, "HUB", "nowhere.invalid")


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
            "sensitivity": {"num_noises": 8, "seeds": None, "fidelity": None, "negative_prompts": None,
                            "inversion": None},
            "control": {"clip": None, "noise_query": None, "noise_optimisation": None, "layout": None,
                        "composition": None},
        }  # fmt: skip
        updated = {
            name: getattr(recipe, name).model_copy(update=values | changes.get(name, {}))
            for name, values in local.items()
        }
        if "diversity" not in changes.get("control", {}):
            here = {"prompts": str(tmp_path / "prompts.csv"), "num_prompts": 64}
            asked = updated["control"].diversity.model_copy(update=here)
            updated["control"] = updated["control"].model_copy(update={"diversity": asked})
        return recipe.model_copy(update={"external_models": [], **updated})

    return make


def lines(settings) -> list[str]:
    return [str(finding) for finding in examine_recipe(settings)]


def problems(settings) -> list[str]:
    ignored = ("device found", "no estimate of disk")
    return [line for line in lines(settings) if not line.startswith("ok") and not any(word in line for word in ignored)]


def test_a_sound_set_up_lacks_nothing(settings):
    assert problems(settings()) == []


WEIGHTS = "transformer/diffusion_pytorch_model.safetensors"
INDEX = "text_encoder/model.safetensors.index.json"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"


@pytest.mark.parametrize(
    "damage, told",
    [
        (removed("model_index.json"), "model_index.json is not there -> fetch the folder again, or name the folder"),
        (dangling("model_index.json"), "model_index.json is a link to a file that is not here -> copy the files too"),
        (written("model_index.json", b"{"), "model_index.json is not a JSON object"),
        (written("model_index.json", b"\xff\xfe"), "model_index.json is not a JSON object"),
        (written("model_index.json", b"[" * 5000), "model_index.json is not a JSON object"),
        (written("model_index.json", ["a"]), "model_index.json is not a JSON object"),
        (changed(_class_name="KandinskyPipeline"), "KandinskyPipeline is not a pipeline that gad can use"),
        (changed(_class_name=["SanaPipeline"]), "['SanaPipeline'] is not a pipeline that gad can use"),
        (changed(vae=[]), "model_index.json names no vae"),
        (changed(transformer=[None, None]), "model_index.json names no transformer"),
        (
            changed(scheduler=["diffusers", "NoScheduler"]),
            "`diffusers` has no class `NoScheduler`. The component was declared as",
        ),
        (renamed("scheduler", "elsewhere"), "there is no folder scheduler/ (FlowMatchEulerDiscreteScheduler) -> fetch"),
        (emptied("scheduler"), "scheduler/ has no scheduler_config.json"),
        (
            written("scheduler/scheduler_config.json", b"nothing"),
            "scheduler/scheduler_config.json is not a JSON object",
        ),
        (emptied("tokenizer"), "tokenizer/ has no tokenizer.json or spiece.model or tokenizer.model or vocab.json and"),
        (removed("tokenizer/tokenizer.json"), "tokenizer/ has no tokenizer.json or"),
        (dangling("tokenizer/tokenizer.json"), "tokenizer/tokenizer.json is a link to a file that is not here"),
        (
            written("tokenizer/tokenizer.json", POINTER),
            "tokenizer/tokenizer.json is a pointer of git-lfs, not the file",
        ),
        (written("vae/config.json", b"{"), "vae/config.json is not a JSON object"),
        (written("vae/config.json", b""), "vae/config.json is empty"),
        (removed("vae/config.json"), "vae/config.json is not there"),
        (dangling("vae/config.json"), "vae/config.json is a link to a file that is not here"),
        (dangling(WEIGHTS), f"{WEIGHTS} is a link to a file that is not here -> copy the files too"),
        (cut(WEIGHTS), f"{WEIGHTS} is cut off or broken"),
        (written(WEIGHTS, b""), f"{WEIGHTS} is empty"),
        (written(WEIGHTS, b"abc"), f"{WEIGHTS} is cut off or broken"),
        (written(WEIGHTS, bytes(1000)), f"{WEIGHTS} is cut off or broken"),
        (written(WEIGHTS, header([1])), f"{WEIGHTS} is cut off or broken"),
        (written(WEIGHTS, header({"a": 1})), f"{WEIGHTS} is cut off or broken"),
        (written(WEIGHTS, header({"a": {"data_offsets": ["0"]}})), f"{WEIGHTS} is cut off or broken"),
        (written(WEIGHTS, POINTER), f"{WEIGHTS} is a pointer of git-lfs, not the file -> git lfs pull"),
        (removed(WEIGHTS), "transformer/ has no weights in safetensors -> fetch"),
        (renamed(WEIGHTS, WEIGHTS.replace("safetensors", "bin")), "safetensors -> convert its .bin files"),
        (renamed(WEIGHTS, "transformer/diffusion_pytorch_model.fp16.safetensors"), "only diffusion_pytorch_model.fp16"),
        (sharded("b.safetensors", "a.safetensors"), "text_encoder/ lacks a.safetensors, b.safetensors"),
        (sharded(index=b"{"), f"{INDEX} is not a JSON object"),
        (sharded(index=b"[]"), f"{INDEX} is not a JSON object"),
        (sharded(index=b'{"metadata": {}}'), f"{INDEX} names no files in its weight_map"),
        (sharded(index=b'{"weight_map": {"a": 1}}'), f"{INDEX} names no files in its weight_map"),
    ],
)
def test_each_fault_of_a_teachers_folder_has_its_line(settings, teacher, damage, told):
    damage(teacher)
    fault, *network = problems(settings())
    assert fault.startswith(f"missing: teacher in {teacher}: ") and told in fault and " -> " in fault
    assert "\n" not in fault
    assert [line.partition(" cannot")[0] for line in network] == ["warn: nowhere.invalid"]


def test_a_file_or_folder_that_is_refused_has_its_line(settings, teacher, monkeypatch):
    """root may read everything, so the refusals are made here."""

    def refuse(call, *names):
        def refusing(path, *rest):
            if Path(path).name in names:
                raise PermissionError(13, "Permission denied", str(path))
            return call(path, *rest)

        return refusing

    def refused(folder, **options):
        raise ValueError("Permission denied")

    monkeypatch.setattr(folders, "check_teacher_pipeline", refused)
    monkeypatch.setattr(folders.os, "listdir", refuse(folders.os.listdir, "vae", "tokenizer"))
    monkeypatch.setattr(folders, "open", refuse(open, WEIGHTS.partition("/")[2]), raising=False)
    told = [line.partition(f"{teacher}: ")[2] for line in problems(settings())[:-1]]
    assert told == [
        f"tokenizer/ cannot be read: Permission denied -> make {teacher}/tokenizer readable",
        f"{WEIGHTS} cannot be read: Permission denied -> make {teacher}/{WEIGHTS} readable",
        f"vae/ cannot be read: Permission denied -> make {teacher}/vae readable",
    ]


def test_several_faults_have_a_line_each(settings, teacher):
    (
        emptied("scheduler")(teacher),
        emptied("tokenizer")(teacher),
        cut(WEIGHTS)(teacher),
        removed("vae/config.json")(teacher),
    )
    assert len(problems(settings())) == 4 + 1


@pytest.mark.parametrize(
    "name, content, told",
    [
        ("p.txt", b"", "p.txt holds no prompts"),
        ("p.txt", b" \n\n", "p.txt holds no prompts"),
        ("p.txt", b"\xff\xfea cat", "is UTF-16"),
        ("p.csv", b"", "p.csv holds no prompts"),
        ("p.csv", b"prompt\n\xff\n", "p.csv, line 2: byte 0xff is not UTF-8"),
        ("p.csv", b"prompt\n", "p.csv holds no prompts"),
        ("p.csv", b"caption\na cat\n", "p.csv has no column 'prompt'; it has caption"),
        ("p.parquet", b"PAR1", "p.parquet is no table: "),
    ],
)
def test_each_fault_of_a_file_of_prompts_has_its_line(settings, tmp_path, name, content, told):
    (tmp_path / name).write_bytes(content)
    asked = settings().control.diversity.model_copy(update={"prompts": str(tmp_path / name)})
    for key, changes in (
        ("prompts", {"noise_pairs": {"prompts": PromptsConfig(file=str(tmp_path / name))}}),
        ("control.diversity.prompts", {"control": {"diversity": asked}}),
    ):
        fault, network = problems(settings(**changes))
        assert fault.startswith(f"missing: {key}: ") and told in fault and str(tmp_path / name) in fault
        assert "\n" not in fault and " -> " in fault and network.startswith("warn: nowhere.invalid")


@pytest.mark.parametrize(
    "content, told",
    [("{", "no JSON"), ("[]", "has no entry with a box"), ("{}", "holds a dict"), ("[1]", "'filename'")],
)
def test_each_fault_of_a_file_of_boxes_has_its_line(settings, tmp_path, content, told):
    (tmp_path / "boxes.json").write_text(content)
    (tmp_path / "detector").mkdir()
    places = {"boxes_file": str(tmp_path / "boxes.json"), "detector": str(tmp_path / "detector")}
    layout = load_recipe("sana_sid").control.layout.model_copy(update=places)
    detector, boxes, _ = problems(settings(control={"layout": layout}))
    assert boxes.startswith("missing: control.layout.boxes_file: ") and told in boxes
    assert (
        detector.startswith("missing: control.layout.detector: ") and "is neither a folder with files nor" in detector
    )


def test_composition_needs_its_file_and_a_detector_that_knows_its_nouns(settings, tmp_path):
    own = load_recipe("sana_sid").control.composition
    (tmp_path / "config.json").write_text('{"id2label": {"0": "cat", "1": "mouse"}}')
    path = tmp_path / "geneval.jsonl"

    def line() -> str:
        places = {"prompts": str(path), "detector": str(tmp_path)}
        control = settings(control={"composition": own.model_copy(update=places)}).control
        recipe = load_recipe("sana_sid").model_copy(update={"control": control})
        return next(str(each) for each in check_control_files(recipe) if "composition" in str(each))

    assert line().startswith(f"missing: control.composition.prompts: there is no file {path} -> put GenEval's")
    asked = (
        '{"tag": "two_object", "prompt": "p", "include": [{"class": "%s", "count": 1}, {"class": "dog", "count": 1}]}'
    )
    path.write_text(asked % "computer mouse")
    assert "has no label for dog -> say what it calls them in control.composition.labels" in line()
    path.write_text('{"tag": "colors", "prompt": "p", "include": [{"class": "cat", "count": 1, "color": "red"}]}')
    assert "control.composition.prompts: the file asks for colours" in line()
    path.write_text("[]")
    assert "control.composition.prompts: GenEval file" in line() and "line 1: a list" in line()


def test_a_noun_that_the_detector_has_no_label_for_has_its_line(tmp_path):
    told = "layout", "name one that has"
    (tmp_path / "config.json").write_text('{"id2label": {"0": "cat", "1": "car"}}')
    assert list(check_detector_labels(str(tmp_path), {"cat"}, *told)) == []
    [line] = map(str, check_detector_labels(str(tmp_path), {"cat", "dragon", "castle"}, *told))
    assert f"missing: control.layout.detector: {tmp_path} has no label for castle, dragon -> name one" in line
    assert (
        list(check_detector_labels(str(tmp_path / "nowhere"), {"cat"}, *told)) == []
    )  # another line says that it is missing


@pytest.mark.parametrize(("processes", "lines"), [("2", 0), ("8", 1)])
def test_a_batch_that_the_processes_cannot_share_has_its_line(settings, monkeypatch, processes, lines):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)
    told = "does not part into 8 times whole pairs among 8 processes -> launch fewer processes"
    assert sum(told in line for line in problems(settings())) == lines


@pytest.mark.parametrize(
    "changes, told",
    [
        ({"teacher": {"pretrained": "owner/name", "revision": "abc"}}, "hf download owner/name --revision abc"),
        ({"noise_pairs": {"prompts": PromptsConfig(file="/nowhere/p.txt")}}, "no prompt file /nowhere/p.txt"),
        (
            {"noise_pairs": {"prompts": PromptsConfig(file="m.parquet", dataset="o/n", revision="main")}},
            "hf download --repo-type dataset o/n m.parquet --revision main",
        ),
        ({"teacher": {"pretrained": "x" * 300}}, "File name too long -> make it readable, or name another there"),
        ({"teacher": {"pretrained": "no/hub/name"}}, "teacher no/hub/name is neither a folder nor in the hub's cache"),
        ({"noise_pairs": {"num_pairs": 100}}, "64 prompts for 108 samples"),
        (
            {"noise_pairs": {"perturbation_scale": 0.01}},
            "= 0.01 drowns in the rounding of bfloat16 -> use h >= 0.039",
        ),
        ({"student": {"device": "cuda"}}, "student.device cuda is not here -> use cpu or auto"),
        ({"control": {"device": "cuda"}}, "control.device cuda is not here -> use cpu or auto"),
        ({"student": {"optimizer": "adamw_8bit"}}, "pip install bitsandbytes"),
        ({"student": {"tracker": "wandb"}}, "pip install wandb"),
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
        "control.layout.detector: hustvl/yolos-small",
        "control.layout.boxes_file: there is no file data/prompts/boxdiff.json",
        "control.diversity.prompts: there is no file data/prompts/captions.csv",
        "sensitivity.seeds.classifier: facebook/convnext-tiny-224",
        "sensitivity.fidelity.scores.hpsv2: models/hpsv2",
        "students, sd_turbo: stabilityai/sd-turbo",
    ):
        assert sum(line.startswith(f"missing: {key}") and " -> " in line for line in told) == 1, key


def test_a_file_with_fewer_prompts_than_a_task_asks_for_has_its_line(settings, tmp_path):
    few = settings().control.diversity.model_copy(update={"num_prompts": 65})
    told = f"missing: control.diversity.prompts: prompt file {tmp_path}/prompts.csv holds 64 prompts, 65 are asked for"
    assert [line.startswith(told) for line in problems(settings(control={"diversity": few}))] == [True, False]


def test_a_column_that_is_not_there_is_named(settings, tmp_path):
    source = PromptsConfig(file=str(tmp_path / "prompts.csv"), column="caption")
    assert any("has no column 'caption'" in line for line in problems(settings(noise_pairs={"prompts": source})))


def test_pinned_models_from_elsewhere_are_fetched_at_their_revisions(settings):
    student = {"name": "one", "source": "o/lora", "revision": "abc", "kind": "lora", "base": "o/base", "num_steps": 1}
    borrowed = ExternalStudent(**student, base_revision="def")
    told = problems(settings().model_copy(update={"external_models": [borrowed]}))
    assert sum("hf download o/lora --revision abc (into HF_HOME), or drop the entry" in line for line in told) == 1
    assert sum("hf download o/base --revision def (into HF_HOME), or drop the entry" in line for line in told) == 1


def test_a_machine_without_a_network_is_told_where_to_put_what():
    finding = check_hub_reachable()
    assert finding.state == "warn" and "HF_HOME" in finding.do


def test_a_whole_folder_has_no_fault(saved):
    assert list(faults_of_pipeline(saved)) == []


@pytest.fixture(scope="module")
def command():
    return load_script("pipelines/doctor.py")


def test_the_command_ends_with_1_where_something_is_missing(command, capsys):
    assert command.main(["smoke"]) == 0
    assert command.main(["pixart_tdm"]) == 1
    assert command.main(["nothing"]) == 1
    for wrong in ([], ["smoke", "swiss_roll"]):
        with pytest.raises(SystemExit) as left:
            command.main(wrong)
        assert left.value.code == 2
    out = capsys.readouterr().out
    assert "missing: unknown recipe 'nothing'" in out and "missing: teacher PixArt-alpha" in out


@pytest.mark.parametrize(
    "content, told",
    [
        (b"", "recipe odd: expected sections, found NoneType"),
        (b"- a", "recipe odd: expected sections, found list"),
        (b"a: [", "recipe odd: not YAML"),
        (b"a: \xff\xfe", "recipe odd: file"),
        (b"teacher: 3", "recipe odd: teacher: "),
        (b"teacher: {1: 2}", "recipe odd: "),
        (b"taecher: {}", "recipe odd: unknown key taecher; did you mean teacher?"),
        (b"teacher: {dataset: swiss_roll, datset: 1}", "recipe odd: unknown key teacher.datset; did you mean dataset?"),
        (None, "Is a directory"),
    ],
)
def test_each_fault_of_a_recipes_file_has_its_line(command, capsys, monkeypatch, tmp_path, content, told):
    (tmp_path / "odd.yaml").mkdir() if content is None else (tmp_path / "odd.yaml").write_bytes(content)
    monkeypatch.setattr(command, "load_recipe", lambda name: load_recipe(name, tmp_path))
    assert command.main(["odd"]) == 1
    [line] = capsys.readouterr().out.splitlines()
    assert line.startswith("missing: ") and told in line and " -> " in line


def told_of_amplification(recipe, **student):
    settings = load_recipe(recipe)
    settings = settings.model_copy(update={"student": settings.student.model_copy(update=student)})
    return [finding.what for finding in check_amplification(settings)]


def test_half_precision_is_warned_of_where_a_noise_prediction_is_amplified():
    assert told_of_amplification("pixart_tdm", dtype="float16") == [
        "student.dtype: the rounding of float16 grows 157 times from eps to x0 at t = 1, to 0.08"
    ]
    assert told_of_amplification("pixart_tdm") == []
    assert told_of_amplification("sana_sid") == [] and told_of_amplification("smoke") == []
