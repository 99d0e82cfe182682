"""Published students: the card's lines sample what we do, model hubs read its head, and what is missing is said."""

import copy
import re

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from huggingface_hub.utils import DEFAULT_IGNORE_PATTERNS, filter_repo_objects
from PIL import Image
from safetensors.torch import load_file

from gad.config import load_recipe
from gad.config.variants import VARIANTS
from gad.models.model import load_model
from gad.models.published_students import ORIGIN, published_student_dir
from gad.models.sampler import Sampler
from gad.models.students import save_student, student_seed_dir
from gad.report.explorer import explorer_of
from gad.report.model_card import card_place
from gad.report.model_card_tables import card_method, card_numbers
from gad.report.publishing import publish_student, published_card, published_metrics, published_students_here
from gad.runtime import paths
from gad.runtime.files import read_json
from gad.runtime.paths import stage_dir

RECIPES = {"unet": "emoji_unet_ladd", "dit": "emoji_dit_tdm", "flow": "emoji_flow_sid"}  # with committed results


def train(recipe: str, saved, variant: str = "gad") -> None:
    """A student in ``data/<recipe>`` that is not its teacher."""
    teacher = load_model(saved)
    student = copy.deepcopy(teacher.denoiser)
    for parameter in student.network.parameters():
        parameter.mul_(1.05)
    save_student(student, teacher, student_seed_dir(stage_dir(recipe, "student", variant), 0))


@pytest.fixture(scope="module")
def published(saved, backbone, tmp_path_factory):
    """The recipe, and ``data`` with its teacher, a trained student and what is published of it."""
    with pytest.MonkeyPatch.context() as patch:
        data = tmp_path_factory.mktemp(backbone) / "data"
        patch.setattr(paths, "DATA", data)
        recipe = RECIPES[backbone]
        train(recipe, saved)
        stage_dir(recipe, "teacher").symlink_to(saved)
        assert publish_student(recipe, "gad") == data / recipe / "published" / "gad"
        yield recipe, data


def test_the_five_lines_of_a_card_sample_what_we_do(published, monkeypatch):
    recipe, _ = published
    folder = published_student_dir(recipe, "gad")
    monkeypatch.chdir(folder.parent)
    (lines,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.S)
    assert len(lines.splitlines()) <= 6
    exec(lines, {})
    shown = torch.tensor(np.array(Image.open("image.png"))).permute(2, 0, 1) / 255
    (prompt,) = re.findall(r'pipe\("([^"]+)"', lines)
    steps = load_recipe(recipe).noise_pairs.student_steps
    made = {}
    for name, place in ("published", folder), ("trained", student_seed_dir(stage_dir(recipe, "student", "gad"), 0)):
        model = load_model(place)
        noise = torch.randn(1, *model.latent_shape, generator=torch.Generator().manual_seed(0))
        made[name] = (Sampler("gad", 0, model, steps).generate(noise, [prompt])[0] + 1) / 2
    assert made["trained"].std() > 0.01
    assert (shown - made["published"]).abs().max() < 0.6 / 255  # of the file's eight bits
    assert (made["published"] - made["trained"]).abs().max() < 1e-2


def test_the_hubs_library_reads_the_head_of_a_card_and_uploads_what_lies_in_the_folder(published):
    recipe, _ = published
    folder = published_student_dir(recipe, "gad")
    head = ModelCard.load(folder / "README.md", ignore_metadata_errors=False).data
    assert (head.license, head.library_name, head.pipeline_tag) == ("mit", "diffusers", "text-to-image")
    assert head.base_model == load_recipe(recipe).teacher.pretrained
    assert "geometry-aware-distillation" in head.tags
    lying = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert list(filter_repo_objects(lying, ignore_patterns=DEFAULT_IGNORE_PATTERNS)) == lying  # as upload_folder does
    assert {"README.md", "model_index.json", ORIGIN} < set(lying)


def test_weights_are_in_half_precision(published):
    recipe, _ = published
    files = list(published_student_dir(recipe, "gad").rglob("*.safetensors"))
    kinds = {weight.dtype for path in files for weight in load_file(path).values() if weight.is_floating_point()}
    assert len(files) == 3 and kinds == {torch.float16}


def test_a_card_reports_the_committed_numbers_with_their_seeds(published):
    recipe, _ = published
    text = (published_student_dir(recipe, "gad") / "README.md").read_text()
    found = read_json(paths.RESULTS / f"{recipe}.json")["metrics"]["control"]["over_seeds"]["gad"]["object_accuracy"]
    (row,) = re.findall(r"^\| object accuracy, control ↑ \| (\S+)", text, re.M)
    assert float(row) == pytest.approx(found["mean"], rel=5e-3)
    assert f"Mean over {found['n']} student seeds" in text and "this folder holds seed 0 alone" in text
    assert "Twemoji" in text and "CC BY 4.0" in text and "arXiv:2606.01651" in text


def test_a_card_whose_numbers_were_made_outside_of_a_checkout_names_no_revision():
    versions = {"torch": "2.0", "diffusers": "0.1"}
    tables = [
        card_method(load_recipe("compact_tdm"), "gad", 0, {"revision": r, "versions": versions}) for r in (None, "abc")
    ]
    assert "| numbers made with | torch 2.0, diffusers 0.1 |" in tables[0]
    assert "| numbers made with | revision `abc`, torch 2.0, diffusers 0.1 |" in tables[1]


def test_no_line_of_a_card_is_over_120_characters(published):
    recipe, _ = published
    settings, (metrics, facts) = load_recipe(recipe), published_metrics(recipe, "gad")
    measured = {variant for group in metrics["sensitivity"].values() for variant in group} & set(VARIANTS)
    tables = [card_method(settings, variant, 0, facts) for variant in VARIANTS]
    tables += [card_numbers(settings, variant, 0, metrics) for variant in measured]
    card = (published_student_dir(recipe, "gad") / "README.md").read_text()
    assert [line for line in "\n".join([card, *tables]).splitlines() if len(line) > 120] == []


@pytest.mark.parametrize("folder", published_students_here(), ids=lambda folder: folder.name)
def test_a_committed_card_is_what_the_present_numbers_give(folder):
    assert (folder / "README.md").read_text() == published_card(folder), "run: python -m gad.report.publishing"


def test_published_students_are_explored_where_none_is_trained(published, monkeypatch, tmp_path):
    recipe, data = published
    (tmp_path / recipe).mkdir()
    for name in ("teacher", "published"):
        (tmp_path / recipe / name).symlink_to(data / recipe / name)
    monkeypatch.setattr(paths, "DATA", tmp_path)
    assert [student.name for student in explorer_of(recipe).students] == ["gad"]
    stage_dir(recipe, "student").symlink_to(data / recipe / "student")
    (data / recipe / "student" / "gad").rename(data / recipe / "student" / "baseline")
    try:
        assert [student.name for student in explorer_of(recipe).students] == ["baseline"]
    finally:
        (data / recipe / "student" / "baseline").rename(data / recipe / "student" / "gad")


def test_a_card_names_its_folder_from_the_root_of_a_clone(tmp_path):
    assert card_place(paths.ROOT / "data" / "compact_tdm" / "published" / "gad") == "data/compact_tdm/published/gad"
    assert card_place(tmp_path / "mine") == "mine"


@pytest.mark.parametrize(
    ("recipe", "variant", "message"),
    [
        (
            "emoji_flow_sid",
            "gad",
            "no finished student 'gad' of seed 0 here; run: gad run student --recipe emoji_flow_sid --variant gad",
        ),
        ("compact_quick", "gad", "recipe 'compact_quick' has no metrics of 'gad'; run: dvc repro report@compact_quick"),
        ("emoji_flow_sid", "gda", "unknown variant 'gda'; there are: initialisation"),
        ("emoji_flow_sad", "gad", "unknown recipe 'emoji_flow_sad'"),
    ],
)
def test_what_is_missing_is_said_in_one_line(monkeypatch, tmp_path, recipe, variant, message):
    monkeypatch.setattr(paths, "DATA", tmp_path)
    with pytest.raises(ValueError, match=re.escape(message)) as told:
        publish_student(recipe, variant)
    assert "\n" not in str(told.value)


def test_a_folder_of_something_else_is_not_replaced(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match="holds something else than a published student: name a new folder"):
        publish_student("emoji_flow_sid", "gad", folder=tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "mine"
