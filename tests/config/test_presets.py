"""A preset is written out as a recipe of its own, which says all that is run."""

import shutil

import pytest
from ruamel.yaml import YAML

from gad.config import RecipeError, load_recipe
from gad.config.presets import preset_names, write_recipe_with_preset
from gad.config.yaml_file import read_recipe_sections
from gad.runtime.paths import RECIPES

PAIRS = [
    (recipe, preset)
    for preset in preset_names()
    for recipe in read_recipe_sections(RECIPES / "presets" / f"{preset}.yaml", preset)
]


@pytest.fixture
def recipes(tmp_path):
    """A copy of the recipes' folder."""
    shutil.copytree(RECIPES, tmp_path / "recipes")
    return tmp_path / "recipes"


@pytest.mark.parametrize(("recipe", "preset"), PAIRS)
def test_every_preset_is_a_sound_recipe_that_keeps_the_rest_and_its_comments(recipes, recipe, preset):
    path = write_recipe_with_preset(recipe, preset, recipes)
    assert path == recipes / f"{recipe}_{preset}.yaml"
    made, own = load_recipe(path.stem, recipes), load_recipe(recipe, recipes)
    assert made.teacher == own.teacher and made.sensitivity == own.sensitivity and made != own
    text, before = path.read_text(), (recipes / f"{recipe}.yaml").read_text()
    assert text.startswith(f"# {recipe} with the preset {preset}, made by: python -m gad.config.presets")
    assert all(line in text for line in before.splitlines() if line.startswith("#"))
    values = YAML(typ="safe").load(path)
    for section, changes in YAML(typ="safe").load(recipes / "presets" / f"{preset}.yaml")[recipe].items():
        if isinstance(changes, dict):
            assert {key: values[section].get(key) for key in changes} == changes
    assert write_recipe_with_preset(recipe, preset, recipes).read_text() == text


def test_the_papers_numbers_are_the_papers(recipes):
    write_recipe_with_preset("sd21_ladd", "paper", recipes)
    made = load_recipe("sd21_ladd_paper", recipes)
    assert (made.noise_pairs.perturbation_scale, made.student.gad_weight, made.student.lr) == (1e-4, 1e-8, 1e-6)
    assert (made.noise_pairs.direction, made.noise_pairs.step) == ("isotropic", "straight")
    for name, paradigm in (("pixart_tdm", "tdm"), ("sana_sid", "sid")):
        write_recipe_with_preset(name, "paper", recipes)
        made = load_recipe(f"{name}_paper", recipes)
        assert made.student.paradigm == paradigm and made.student.target == "next_state"
        assert made.student.gad_weight == pytest.approx(made.noise_pairs.perturbation_scale**2)  # lambda 1, power 1


def test_the_released_codes_numbers_are_its_command(recipes):
    write_recipe_with_preset("pixart_tdm", "released", recipes)
    made = load_recipe("pixart_tdm_released", recipes)
    assert made.variants == ["baseline", "gad_released"] and made.student.weight_of("gad_released") == 1.0
    assert (made.student.lr, made.student.batch_size, made.student.num_steps) == (2e-5, 16, 10001)


@pytest.mark.parametrize("name", ["sd21_ladd", "pixart_tdm", "sana_sid"])
def test_the_recipes_own_steps_are_above_the_rounding_of_what_trains(name):
    from gad.preflight.rounding import check_rounding

    assert {finding.state for finding in check_rounding(load_recipe(name))} == {"ok"}


@pytest.mark.parametrize(
    ("recipe", "preset", "message"),
    [
        ("sd21", "paper", "unknown recipe 'sd21'"),
        ("sd21_ladd", "papers", "unknown preset 'papers'; there are paper, released"),
        ("swiss_roll", "paper", "preset paper has no numbers for 'swiss_roll', only for sd21_ladd"),
    ],
)
def test_what_does_not_go_together_is_one_line(recipes, recipe, preset, message):
    with pytest.raises(RecipeError, match=message) as caught:
        write_recipe_with_preset(recipe, preset, recipes)
    assert "\n" not in str(caught.value)


def test_a_preset_that_makes_no_recipe_writes_none(recipes):
    (recipes / "presets" / "broken.yaml").write_text("sd21_ladd:\n  student: {gad_weight: -1.0}\n")
    with pytest.raises(RecipeError, match="student.gad_weight"):
        write_recipe_with_preset("sd21_ladd", "broken", recipes)
    assert not (recipes / "sd21_ladd_broken.yaml").exists()
