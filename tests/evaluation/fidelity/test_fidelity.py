"""Fidelity of a recipe's models, and the paper's tables beside it."""

import pandas as pd
import pytest
from ruamel.yaml import YAML

from gad.config import ExternalStudent, FidelityConfig, RecipeError, load_recipe
from gad.data.emoji import seeds
from gad.data.emoji.scenes import make_scene, render_scenes
from gad.evaluation.fidelity.fidelity import image_scores, load_evaluators, measure_fidelity, summarise_fidelity
from gad.metrics.clip_score import OWN
from gad.metrics.summary import summary_by_variant
from gad.models.external import load_external_student
from gad.models.model import Model
from gad.models.pipelines import pipeline_denoiser
from gad.models.sampler import num_sampler_steps
from gad.report.paper import fidelity_beside_ours, image_seeds_beside_ours, response_beside_ours
from gad.runtime.paths import RECIPES


@pytest.fixture(scope="module")
def teacher(pipelines):
    """The untrained SANA-class teacher."""
    return Model(pipeline_denoiser(pipelines["flow"]), (4, 16, 16), pipelines["flow"])


def recipe_of(**fidelity):
    recipe = load_recipe("emoji_quick")
    config = FidelityConfig(**{"num_images": 16, "axes": 8} | fidelity)
    pairs = recipe.noise_pairs.model_copy(update={"teacher_steps": 1, "guidance_scale": 1.0})
    sensitivity = recipe.sensitivity.model_copy(update={"fidelity": config})
    return recipe.model_copy(update={"noise_pairs": pairs, "sensitivity": sensitivity})


def test_a_student_that_is_the_teacher_scores_like_it_and_is_no_distance_away(teacher):
    parts = zip(*measure_fidelity(teacher, [("gad", 3, teacher)], recipe_of()), strict=True)
    rows, distances = (pd.concat(part, ignore_index=True) for part in parts)
    table = summarise_fidelity(rows, distances).set_index("variant")
    assert len(rows) == 32 and table["n"].tolist() == [16, 16]
    assert table.loc["gad", OWN] == table.loc["teacher", OWN]
    assert table.loc["gad", f"{OWN}_low"] < table.loc["gad", OWN] < table.loc["gad", f"{OWN}_high"]
    assert table.loc["gad", "frechet_to_teacher"] == pytest.approx(0, abs=1e-6)
    assert table.loc["gad", "coverage_to_teacher"] == 1
    assert table.loc["gad", "frechet_to_data"] == table.loc["teacher", "frechet_to_data"] > 0.01
    assert distances["features"].unique().tolist() == ["efflite0"]
    assert set(rows["object_accuracy"]) <= {0.0, 1.0} and rows["count_accuracy"].le(rows["object_accuracy"]).all()


def test_rendered_scenes_of_the_captions_are_right_and_others_are_not():
    scenes = [make_scene(i, seed=seeds.NOISE_PAIRS) for i in range(16)]
    captions, prompts = [scene.prompt.caption for scene in scenes], [scene.prompt for scene in scenes]
    images, evaluators = render_scenes(scenes), load_evaluators(recipe_of())
    right, wrong = (image_scores(shown, captions, evaluators, prompts) for shown in (images, images.roll(5, 0)))
    assert right["object_accuracy"].mean() >= 0.9 and wrong["object_accuracy"].mean() <= 0.3
    assert right["count_accuracy"].mean() >= 0.9 and wrong["count_accuracy"].mean() <= 0.3
    assert "object_accuracy" not in image_scores(images, captions, evaluators)


def test_rows_do_not_depend_on_the_batch(teacher):
    first, second = (next(measure_fidelity(teacher, [], recipe_of(batch_size=size)))[0] for size in (5, 64))
    pd.testing.assert_frame_equal(first, second, atol=1e-4)


def test_an_outside_student_takes_one_call_and_ours_the_recipes_nodes(teacher, pipelines, tmp_path):
    pipelines["flow"].save_pretrained(tmp_path / "sana")
    outside = load_external_student(ExternalStudent(name="x", source=str(tmp_path / "sana"), num_steps=4), teacher)
    recipe = recipe_of()
    pairs = recipe.noise_pairs.model_copy(update={"student_steps": 2})
    sampling = recipe.model_copy(update={"noise_pairs": pairs}).sampling
    assert (num_sampler_steps(outside, sampling), num_sampler_steps(teacher, sampling)) == (1, 2)


FAULTS = [
    ("emoji_quick", {"fidelity": {"num_images": 40, "axes": 32}}, "on 32 axes needs at least 64 images, not 40"),
    ("emoji_quick", {"seeds": {"num_seeds": 1, "train_prompts": 8, "val_prompts": 2, "test_prompts": 4}},
     r"sensitivity\.seeds\.num_seeds: .*greater than or equal to 2"),
    ("emoji_quick", {"seeds": {"num_seed": 4}}, r"unknown key sensitivity\.seeds\.num_seed; did you mean num_seeds\?"),
    ("smoke", {"fidelity": {"num_images": 64}}, "fidelity needs images, the Swiss roll is 2-D"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "section", "message"), FAULTS)
def test_an_impossible_section_is_refused_in_one_line(tmp_path, name, section, message):
    yaml = YAML(typ="safe", pure=True)
    values = yaml.load(RECIPES / f"{name}.yaml")
    yaml.dump(values | {"sensitivity": values["sensitivity"] | section}, tmp_path / "edited.yaml")
    with pytest.raises(RecipeError, match=message) as error:
        load_recipe("edited", tmp_path)
    assert "\n" not in str(error.value)


def test_the_papers_tables_stand_beside_the_models_of_the_same_kind():
    table = pd.DataFrame(
        {"variant": ["teacher", "baseline", "gad"], "seed": 0, "seed_identification_accuracy": [0.9, 0.5, 0.7]}
    )
    beside = image_seeds_beside_ours(summary_by_variant(table, ["seed_identification_accuracy"])).set_index("model")
    assert beside.loc["LADD + GAD", "ours, self"].startswith("0.7")
    assert beside.loc["LADD + GAD", "paper, self"] == 92.4
    assert beside.loc["SD-Turbo", "ours, self"] == ""
    scores = pd.DataFrame({"variant": ["teacher", "baseline", "gad"], "seed": 0, OWN: [0.8, 0.6, 0.7],
                           "frechet_to_teacher": [float("nan"), 4.0, 3.0]})  # fmt: skip
    group = summary_by_variant(scores, [OWN, "frechet_to_teacher"])
    beside = fidelity_beside_ours(group)
    fid = beside[beside["paper's table"] == "12"].iloc[:, -1].tolist()
    assert fid[0].startswith("Fréchet: 4") and fid[1].startswith("Fréchet: 3") and len(beside) == 9 + 6
    with_kinds = {"fidelity": group, "isotropic": {name: dict.fromkeys(
        ("jvp_cosine", "jacobian_norm_ratio", "spectral_kl", "jvp_mse", "pointwise_mse"),
        {"mean": 1.0, "low": None, "high": None, "n": 1}) for name in ("baseline", "gad")}}  # fmt: skip
    assert len(response_beside_ours(with_kinds)) == 4  # no trajectory there
