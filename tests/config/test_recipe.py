"""A recipe is checked before anything starts, and every fault is one clear line."""

from functools import reduce
from operator import getitem
from pathlib import Path

import pytest
from pydantic import ValidationError
from ruamel.yaml import YAML

from gad.config import Recipe, RecipeError, load_recipe, recipe_names
from gad.config.stage_graph import GRAPH, stage_graph, stage_inputs
from gad.config.variants import VARIANTS, check_variant
from gad.runtime.paths import RECIPES

ROOT = Path(__file__).parents[2]
YAML12 = YAML(typ="safe", pure=True)


@pytest.fixture
def edited(tmp_path):
    """Load the smoke recipe with one key of one section set (or, with None, removed)."""

    def load(section: str, key: str, value):
        values = YAML12.load(RECIPES / "smoke.yaml")
        values[section][key] = value
        if value is None:
            del values[section][key]
        YAML12.dump(values, tmp_path / "edited.yaml")
        return load_recipe("edited", tmp_path)

    return load


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_is_sound_and_says_how_it_is_run(name):
    assert load_recipe(name).name == name
    header = "".join(line for line in (RECIPES / f"{name}.yaml").open() if line.startswith("#"))
    assert "cost" in header


def test_params_name_existing_recipes_and_the_graph_says_what_the_recipes_say():
    params = YAML12.load(ROOT / "params.yaml")
    assert set(params) == {"recipes", "main"} and set(params["main"]) <= set(params["recipes"]) <= set(recipe_names())
    graph = YAML12.load(GRAPH)
    assert graph == stage_graph(), "run: python -m gad.config.stage_graph"
    assert list(graph["inputs"]) == params["recipes"]
    assert graph["students"]["swiss_roll-gad"] == {"recipe": "swiss_roll", "variant": "gad"}


@pytest.mark.parametrize("name", YAML12.load(ROOT / "params.yaml")["recipes"])
def test_recipes_train_the_method_and_its_controls(name):
    assert "external_models" in YAML12.load(RECIPES / f"{name}.yaml")  # DVC refuses to follow a key that is not there
    recipe = load_recipe(name)  # the method, the two first controls, and the rival where the base loss is not it
    assert {"baseline", "gad"} <= set(recipe.variants)
    assert name == "compact_quick" or "noise_augmentation" in recipe.variants  # an example of eight minutes
    assert recipe.student.paradigm == "matching" or "pointwise_anchor" in recipe.variants


@pytest.mark.parametrize(
    ("variants", "message"),
    [
        (["baseline", "gda"], "unknown variant gda"),
        (["gad"], "every variant once, the baseline among them"),
        (["baseline", "gad", "gad"], "every variant once"),
        (["baseline", "gad_score"], "needs a fake score"),
    ],
)
def test_variants_that_a_recipe_cannot_have_are_refused(variants, message):
    values = load_recipe("swiss_roll").model_dump() | {"variants": variants}
    with pytest.raises(ValueError, match=message):
        Recipe.model_validate(values)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_that_makes_no_sense_is_refused_with_the_reason(name):
    check_variant(name, "tdm"), check_variant(name, "sid")
    if name in ("pointwise_anchor", "first_step_anchor", "gad_anchor"):
        with pytest.raises(ValueError, match="output matching, which is the anchor itself"):
            check_variant(name, "matching")
        check_variant(name, "ladd")
    elif name in ("gad_score", "gad_score_fixed", "gad_released"):
        for paradigm in ("matching", "ladd"):
            line = f"needs a fake score, which only tdm, dmd2 and sid have, not {paradigm}"
            with pytest.raises(ValueError, match=line):
                check_variant(name, paradigm)
    else:
        check_variant(name, "matching"), check_variant(name, "ladd")


def test_an_unknown_recipe_lists_the_existing_ones():
    with pytest.raises(RecipeError, match="unknown recipe 'swisroll'.*emoji_flow.*swiss_roll"):
        load_recipe("swisroll")


FAULTS = [
    ("student", "gad_wieght", 1.0, r"unknown key student\.gad_wieght; did you mean gad_weight\?"),
    ("student", "lr", None, r"student\.lr is missing"),
    ("student", "num_steps", "20", r"student\.num_steps: .*integer"),
    ("student", "num_steps", 20.0, r"student\.num_steps: .*integer"),
    ("student", "num_steps", True, r"student\.num_steps: .*integer"),
    ("student", "seeds", [], r"student\.seeds"),
    ("student", "seeds", [1, 1], r"seeds repeat"),
    ("student", "ema_decay", 1.0, r"student\.ema_decay: .*less than 1"),
    ("student", "device", "tpu", r"student\.device: .*'cpu'.*'tpu'"),
    ("noise_pairs", "perturbation_scale", 0.0, r"noise_pairs: .*must be positive"),
    ("noise_pairs", "perturbation_scale", -0.1, r"noise_pairs: .*must be positive"),
    ("noise_pairs", "perturbation_scale", 1e-9, r"noise_pairs: .*rounding of float32; use h >="),
    ("noise_pairs", "num_pairs", 1_000_001, r"noise_pairs\.num_pairs: .*less than or equal to 1000000"),
    ("noise_pairs", "student_steps", 16, r"more student steps \(16\) than teacher steps \(\d+\)"),
    ("noise_pairs", "guidance_scale", 0.5, r"noise_pairs\.guidance_scale"),
    ("noise_pairs", "guidance_scale", 3.0, r"guidance_scale must be 1 on the Swiss roll"),
    ("noise_pairs", "direction", "low_frequency", r"low_frequency directions need images"),
    ("noise_pairs", "direction", "singular", r"num_singular 16: the Swiss roll has 2 dimensions"),
    ("teacher", "backbone", "unet", r"'swiss_roll' has no backbone 'unet'"),
    (
        "student",
        "h_schedule",
        "decreasing",
        r"h_schedule decreasing needs steps that differ: set",
    ),
]


FAULTS += [
    (
        "control",
        "diversity",
        {"num_promts": 2, "seeds_per_prompt": 4},
        r"control\.diversity\.num_promts; did you mean num_p",
    ),
    (
        "control",
        "diversity",
        {"num_prompts": 2, "seeds_per_prompt": 1},
        r"control\.diversity\.seeds_per_prompt: .*not 1",
    ),
    ("control", "diversty", {}, r"unknown key control\.diversty; did you mean diversity\?"),
]


def test_a_control_section_without_diversity_is_refused(tmp_path):
    values = YAML12.load(RECIPES / "smoke.yaml")
    values["control"] = {"seed": 1}
    YAML12.dump(values, tmp_path / "edited.yaml")
    with pytest.raises(RecipeError, match="recipe edited: control.diversity is missing"):
        load_recipe("edited", tmp_path)


@pytest.mark.parametrize(("section", "key", "value", "message"), FAULTS)
def test_a_fault_is_one_line_that_names_its_place(edited, section, key, value, message):
    with pytest.raises(RecipeError, match=message) as caught:
        edited(section, key, value)
    assert "\n" not in str(caught.value)


def test_a_misspelt_key_is_reported_before_the_missing_one(edited, tmp_path):
    values = YAML12.load(RECIPES / "smoke.yaml")
    values["student"]["learning_rat"] = values["student"].pop("lr")
    YAML12.dump(values, tmp_path / "edited.yaml")
    with pytest.raises(RecipeError, match="learning_rat"):
        load_recipe("edited", tmp_path)


def test_small_numbers_as_dvc_writes_them_are_numbers(tmp_path):
    text = (RECIPES / "smoke.yaml").read_text()
    lines = [f"{line.split('lr:')[0]}lr: 1e-05" if " lr:" in line else line for line in text.splitlines()]
    (tmp_path / "small.yaml").write_text("\n".join(lines))
    assert load_recipe("small", tmp_path).student.lr == 1e-5


@pytest.mark.parametrize("text", ["", "- a list", "student: [", "student: {lr: 1\n"])
def test_a_file_that_is_no_recipe_is_one_line(tmp_path, text):
    (tmp_path / "broken.yaml").write_text(text)
    with pytest.raises(RecipeError) as caught:
        load_recipe("broken", tmp_path)
    assert "\n" not in str(caught.value)


def test_a_recipe_cannot_be_changed_but_copied():
    recipe = load_recipe("smoke")
    with pytest.raises(ValidationError):
        recipe.student.num_steps = 1
    assert recipe.student.model_copy(update={"num_steps": 1}).num_steps == 1


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("teacher.world", "teacher.dataset"),
        ("noise_pairs.num_nodes", "noise_pairs.student_steps"),
        ("control.layout.attention_nodes", "control.layout.attention_trajectory_steps"),
        ("students", "external_models"),
        ("sensitivity.sister", "sensitivity.negative_prompts and sensitivity.inversion"),
    ],
)
def test_a_key_of_an_older_recipe_is_refused_with_its_new_name(tmp_path, old, new):
    values = YAML12.load(RECIPES / "emoji_flow.yaml")
    *section, key = old.split(".")
    reduce(getitem, section, values)[key] = reduce(getitem, section, values).pop(new.split(".")[-1], None)
    YAML12.dump(values, tmp_path / "edited.yaml")
    with pytest.raises(RecipeError, match=f"^recipe edited: {old} is called {new} now$"):
        load_recipe("edited", tmp_path)


def test_captions_are_split_for_emoji_scenes_alone_and_for_teacher_and_pairs_alike():
    values = load_recipe("smoke").model_dump()
    values["noise_pairs"]["captions"] = "split_by_words"
    with pytest.raises(ValueError, match="noise_pairs.captions has an effect only on emoji scenes"):
        Recipe.model_validate(values)
    values = load_recipe("emoji_flow").model_dump()
    values["noise_pairs"]["captions"] = "split_by_words"
    with pytest.raises(ValueError, match="needs a teacher with teacher.captions split_by_words"):
        Recipe.model_validate(values)
    values["teacher"]["captions"] = "split_by_words"
    assert Recipe.model_validate(values).noise_pairs.prompt_source == "split_by_words"
    assert load_recipe("emoji_flow").noise_pairs.prompt_source is None


def test_a_compact_teacher_is_made_from_the_compact_autoencoder():
    recipe = load_recipe("emoji_flow")
    compact = recipe.model_copy(update={"teacher": recipe.teacher.model_copy(update={"autoencoder": "compact"})})
    made_from = [stage_inputs(some)["teacher"] for some in (recipe, compact)]
    assert made_from == ["data/emoji/vae", "data/emoji/vae_compact"]
