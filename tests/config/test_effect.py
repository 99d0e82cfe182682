"""A key is refused where it has no effect: every key of a recipe is walked."""

from collections.abc import Iterator
from functools import reduce
from operator import getitem
from types import UnionType
from typing import get_args

import pytest
from ruamel.yaml import YAML

from gad.config import ExternalStudent, Recipe, RecipeError, Section, load_recipe
from gad.config.effect import effect_conditions
from gad.runtime.paths import RECIPES

YAML12 = YAML(typ="safe", pure=True)
ALWAYS = {  # keys that have an effect in every recipe that has their section
    "": "name teacher noise_pairs variants student sensitivity control external_models dry_run",
    "teacher": "dataset backbone",
    "noise_pairs": "num_pairs directions_per_noise direction perturbation_scale step teacher_steps guidance_scale"
    " student_steps batch_size shard_size seed prompts device",  # prompts: the recipe's own check
    "noise_pairs.prompts": "file dataset",
    "student": "paradigm num_steps batch_size accumulate lr warmup_steps gad_weight variant_weights h_schedule"
    " gad_interval gad_fraction equal_time_factor ema_decay max_grad_norm loss checkpoint_every log_every seeds"
    " side_variants device dtype compile shard optimizer start target"
    # h_schedule, variants' keys and those from start on: checks of their own (test_student_options)
    " gradient_ratio validation tracker",
    "student.start_student": "source revision kind weights scheduler timesteps sigmas",
    "student.lora": "rank alpha targets",
    "student.validation": "num_noises num_prompts first_step images perturbation_scale",
    "sensitivity": "num_noises num_directions directions method finite_step device batch_size num_spectra seed seeds"
    " fidelity inversion",  # seeds and fidelity: the recipe's own check
    "sensitivity.seeds": "num_seeds train_prompts val_prompts test_prompts classifier curve batch_size seed",
    "sensitivity.fidelity": "num_images scores features axes neighbours data batch_size seed",
    "sensitivity.fidelity.scores": "model scale tokenizer revision",
    "sensitivity.negative_prompts": "num_samples guidance_scale negative_prompt batch_size seed",
    "sensitivity.inversion": "num_samples rounds descent_steps seed",
    "control": "diversity noise_query noise_optimisation device batch_size seed",
    "control.diversity": "num_prompts seeds_per_prompt",
    "control.noise_query": "library_size num_queries library",
    "control.noise_optimisation": "num_prompts iterations angle recompute batch_size",
    "control.layout": "num_prompts step attention attention_trajectory_steps attention_steps attention_layers"
    " low_frequency_size iterations top_share corner_range threshold batch_size seed boxes_file detector",
    "control.composition": "prompts detector num_prompts images_per_prompt labels threshold counting_threshold",
    "external_models": "name source revision kind weights base latent_side scheduler num_steps timesteps sigmas"
    " guidance_scale eta seed licence",  # eta, timesteps and scheduler: the scheduler's own signature decides
}
WITHOUT_EFFECT = [  # recipe, key, a value that is not its default
    ("smoke", "teacher.pretrained", "data/emoji_unet/teacher"),
    ("emoji_unet_ladd", "teacher.revision", "main"),
    ("emoji_unet", "teacher.latent_side", 8),
    ("emoji_unet", "teacher.num_points", 100),
    ("emoji_unet_ladd", "teacher.num_scenes", 100),
    ("emoji_unet_ladd", "teacher.autoencoder", "compact"),
    ("emoji_unet_ladd", "teacher.captions", "split_by_words"),
    ("smoke", "noise_pairs.captions", "split_by_words"),
    ("smoke", "teacher.num_steps", 10),
    ("smoke", "teacher.batch_size", 8),
    ("emoji_unet_ladd", "teacher.lr", 0.1),
    ("emoji_unet_ladd", "teacher.seed", 3),
    ("smoke", "noise_pairs.low_frequency_size", 8),
    ("smoke", "noise_pairs.num_singular", 2),
    ("smoke", "noise_pairs.singular_steps", 2),
    ("smoke", "noise_pairs.singular_rounds", 3),
    ("emoji_unet", "noise_pairs.smallest_scale", 0.1),
    ("smoke", "noise_pairs.dtype", "float16"),
    ("pixart_tdm", "noise_pairs.prompts.column", "caption"),
    ("pixart_tdm", "noise_pairs.prompts.revision", "main"),
    ("emoji_unet_ladd", "student.gad_batch_stride", 2),
    ("smoke", "student.anchor_weight", 2.0),
    ("smoke", "student.auxiliary_lr_ratio", 2.0),
    ("smoke", "student.auxiliary_updates", 2),
    ("emoji_dit_tdm", "student.regression_weight", 1.0),
    ("emoji_flow_sid", "student.tdm_loss", "mse"),
    ("emoji_dit_tdm", "student.sid_alpha", 1.2),
    ("smoke", "student.start_steps", 5),
    ("smoke", "student.start_lr", 1e-3),
    ("smoke", "student.end_to_end_gradient", "all_calls"),
    ("emoji_unet", "student.start_student", {"source": "models/mine"}),
    ("repair_pixart_dmd", "student.start_student.lora_scale", 0.5),
    ("repair_compact", "student.start_student.subfolder", "transformer"),
    ("smoke", "student.lora", {"rank": 4}),
    ("smoke", "student.gradient_ratio_every", 3),
    ("smoke", "student.auxiliary_warmup", 5),
    ("emoji_unet_ladd", "student.rollout", "shared"),
    ("smoke", "student.side_seeds", 2),
    ("smoke", "student.workers", 2),
    ("smoke", "student.gradient_checkpointing", True),
    ("emoji_dit_tdm", "student.channels_last", True),
    ("emoji_unet", "student.hidden", 64),
    ("emoji_unet", "student.layers", 2),
    ("emoji_unet", "sensitivity.perturbation_scale", 0.1),
    ("sana_sid", "sensitivity.num_singular", 2),
    ("smoke", "sensitivity.negative_prompts", {"num_samples": 2, "negative_prompt": "blurry"}),
    ("emoji_unet", "sensitivity.seeds.epochs", 3),
    ("emoji_unet", "sensitivity.seeds.lr", 0.1),
    ("smoke", "control.layout", {"num_prompts": 2}),
    ("smoke", "control.composition", {"prompts": "data/geneval.jsonl", "detector": "models/detector"}),
    ("smoke", "control.clip", "openai/clip-vit-base-patch32"),
    ("smoke", "control.diversity.prompts", "data/prompts.txt"),
    ("smoke", "control.noise_query.describe", "prompt"),
    ("smoke", "control.noise_query.requests", 20),
    ("smoke", "control.noise_query.attribute_prompts", 3),
    ("smoke", "control.noise_query.attributes_of", "library"),
    ("smoke", "control.noise_query.attribute_entries", 20),
    ("smoke", "control.noise_query.prompts", "data/prompts.txt"),
    ("smoke", "control.noise_optimisation.prompts", "data/prompts.txt"),
    ("pixart_tdm", "control.layout.first_prompt", 3),
    ("pixart_tdm", "control.layout.angle", 0.2),
    ("emoji_unet", "control.layout.step_size", 3.0),
    ("emoji_unet", "control.layout.keep_on_shell", False),
    ("sana_sid", "external_models.0.subfolder", "transformer"),
    ("sana_sid", "external_models.0.base_revision", "main"),
    ("sana_sid", "external_models.0.lora_scale", 0.5),
    ("smoke", "dry_run_depth", 2),
]


def keys_of(model: type[Section], place: str = "") -> Iterator[tuple[str, type[Section], str]]:
    """Each key of a recipe: the place of its section, the section and the key."""
    for key, field in model.model_fields.items():
        yield place, model, key
        kinds = [field.annotation]
        while kinds:
            kind = kinds.pop()
            if isinstance(kind, type) and issubclass(kind, Section):
                yield from keys_of(kind, f"{place}.{key}".strip("."))
            elif isinstance(kind, UnionType) or get_args(kind):
                kinds += get_args(kind)


def test_every_key_says_when_it_has_an_effect_or_always_has_one():
    found: dict[str, set[str]] = {}
    for place, model, key in keys_of(Recipe):
        if not effect_conditions(model, key):
            found.setdefault(place, set()).add(key)
    assert found == {place: set(keys.split()) for place, keys in ALWAYS.items()}
    assert ExternalStudent in {model for _, model, _ in keys_of(Recipe)}


def test_every_key_with_a_condition_is_tried():
    conditional = {
        f"{place}.{key}".strip(".") for place, model, key in keys_of(Recipe) if effect_conditions(model, key)
    }
    assert {key.replace(".0", "") for _, key, _ in WITHOUT_EFFECT} == conditional


@pytest.fixture
def edited(tmp_path):
    """Load a recipe with one key, named by its place, set to a value."""

    def load(recipe: str, place: str, value, **more):
        values = YAML12.load(RECIPES / f"{recipe}.yaml")
        *section, key = [int(part) if part.isdecimal() else part for part in place.split(".")]
        reduce(getitem, section, values)[key] = value
        for name, section_values in more.items():
            values[name] |= section_values
        YAML12.dump(values, tmp_path / "edited.yaml")
        return load_recipe("edited", tmp_path)

    return load


@pytest.mark.parametrize(("recipe", "place", "value"), WITHOUT_EFFECT, ids=[place for _, place, _ in WITHOUT_EFFECT])
def test_a_key_without_effect_is_one_line(edited, recipe, place, value):
    more = {"student": {"shard": True}} if place == "student.workers" else {}
    with pytest.raises(RecipeError, match=f"^recipe edited: {place} has an effect only .*: leave it out$") as caught:
        edited(recipe, place, value, **more)
    assert "\n" not in str(caught.value)


def test_a_key_that_repeats_its_default_lets_an_experiment_change_the_one_that_decides(edited):
    assert edited("emoji_quick", "noise_pairs.direction", "isotropic").noise_pairs.low_frequency_size == 4


@pytest.mark.parametrize(
    ("recipe", "place", "value", "message"),
    [
        ("smoke", "student.side_variants", ["gad_anchor"], "variant 'gad_anchor' needs another paradigm"),
        ("smoke", "student.variant_weights", {"gad_score": 1.0}, "variant 'gad_score' needs a fake score"),
        ("smoke", "student.gad_interval", [0.6, 0.9], r"gad_interval \[0.6, 0.9\] has no student timestep \(1, 0.5\)"),
        ("smoke", "noise_pairs.num_pairs", 400_000, "num_pairs 400000 with directions_per_noise 2 would take 1200000"),
        ("sana_sid", "sensitivity.negative_prompts", {"num_samples": 2}, "negative_prompts.negative_prompt is needed"),
    ],
)
def test_what_would_do_nothing_or_something_else_is_one_line(edited, recipe, place, value, message):
    with pytest.raises(RecipeError, match=message) as caught:
        edited(recipe, place, value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"teacher: caf\xe9\n", "line 1: byte 0xe9 is not UTF-8"),
        ("teacher: {}\n".encode("utf-16"), "is UTF-16"),
        (b"a: 1\na: 2\n", 'found duplicate key "a"'),
        (b"a: 1\n---\nb: 2\n", "expected a single document"),
        (b"a: 1\nb: 'x\xc2\x85y'\n", r"line 2 holds the letter U\+0085"),
        (b"<<<<<<< HEAD\na: 1\n", "not YAML"),
    ],
)
def test_a_recipe_that_is_no_text_or_holds_a_key_twice_is_one_line(tmp_path, content, message):
    (tmp_path / "broken.yaml").write_bytes(content)
    with pytest.raises(RecipeError, match=f"^recipe broken: .*{message}") as caught:
        load_recipe("broken", tmp_path)
    assert "\n" not in str(caught.value)


def test_a_recipe_with_a_byte_order_mark_is_read(tmp_path):
    (tmp_path / "marked.yaml").write_bytes("\ufeff".encode() + (RECIPES / "smoke.yaml").read_bytes())
    assert load_recipe("marked", tmp_path).student == load_recipe("smoke").student
