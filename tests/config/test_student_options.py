"""Settings of a student that cannot be had together are refused in one line, and what a student had is remembered."""

import json

import pytest

from gad.config import Recipe, StudentConfig, load_recipe
from gad.config.student_options import check_sampling_steps
from gad.config.variants import VARIANTS
from gad.distillation.training_record import NEWER, check_training_record, write_training_record

FAULTS = [
    ({"start": "regression"}, "start regression needs start_steps above 0"),
    ({"target": "end_to_end", "gad_interval": [0.2, 1.0]}, "gad_interval must be"),
    ({"gradient_ratio": 1.0, "gad_weight": 0.3}, "gradient_ratio sets the weights"),
    ({"gradient_ratio": 1.0, "anchor_weight": 0.3}, "gradient_ratio sets the weights"),
    ({"gradient_ratio": 1.0, "variant_weights": {"gad": 2.0}}, "gradient_ratio sets the weights"),
    ({"gradient_ratio": 1.0, "gad_fraction": 0.5}, "gradient_ratio needs GAD at every step"),
    ({"gradient_ratio": 1.0, "accumulate": 2}, "gradient_ratio measures gradients of whole batches"),
    ({"start": "student"}, "start student needs start_student: the folder or hub name of a few-step student"),
    (
        {"start": "student", "start_student": {"source": "a/b"}, "lora": {"rank": 4}},
        "start_student has to be of kind lora, or drop lora",
    ),
    (
        {
            "start": "student",
            "start_student": {"source": "a/b", "kind": "lora", "lora_scale": 0.5},
            "lora": {"rank": 4},
        },
        "goes on with the adapter of start_student as it is: lora_scale 1",
    ),
    ({"shard": True, "lora": {"rank": 4}, "workers": "auto"}, "shard goes without compile, channels_last and lora"),
    ({"rollout": "shared", "paradigm": "tdm", "accumulate": 2}, "rollout shared holds the graph of a whole batch"),
]


@pytest.mark.parametrize(("changes", "message"), FAULTS)
def test_a_setting_that_does_not_go_with_another_is_refused_in_one_line(changes, message, smoke):
    with pytest.raises(ValueError, match=message) as caught:
        StudentConfig(**smoke.student.model_dump() | changes)
    assert len(caught.value.errors()) == 1 and "\n" not in caught.value.errors()[0]["msg"]


@pytest.mark.parametrize(
    ("changes", "steps", "variant", "message"),
    [
        ({"target": "endpoint"}, 1, "gad", "student.target endpoint is next_state with one sampling step"),
        ({"target": "end_to_end"}, 1, "gad", "student.target end_to_end is next_state with one sampling step"),
        (
            {"start": "student", "start_student": {"source": "a/b", "timesteps": [999, 400]}},
            1,
            "gad",
            "student.start_student has 2 times, noise_pairs.student_steps is 1",
        ),
        ({}, 1, "first_step_anchor", "is pointwise_anchor with one sampling step"),
        ({"target": "end_to_end"}, 2, "first_step_anchor", "acts at the first sampling step"),
        ({"batch_size": 2}, 2, "gad_other_pair", "needs another pair in a batch: batch_size 4 or more"),
    ],
)
def test_what_needs_several_sampling_steps_is_refused_with_one(changes, steps, variant, message, smoke):
    config = StudentConfig(**smoke.student.model_dump() | {"paradigm": "tdm"} | changes)
    with pytest.raises(ValueError, match=message):
        check_sampling_steps(config, ["baseline", variant], steps)
    values = smoke.model_dump() | {"variants": ["baseline", variant], "student": config.model_dump()}
    values["noise_pairs"] |= {"student_steps": steps}
    with pytest.raises(ValueError, match=message):
        Recipe.model_validate(values)


def test_defaults_leave_the_record_of_a_student_as_it_was_and_other_values_do_not_pass_for_it(tmp_path):
    recipe = load_recipe("smoke")
    folder = tmp_path / "gad"
    write_training_record(folder, recipe.student, recipe.noise_pairs)
    recorded = json.loads((folder / "trained.json").read_text())
    assert not {f"student.{name}" for name in NEWER} & set(recorded)
    for seed in recipe.student.seeds:
        (folder / f"seed_{seed}").mkdir()
    check_training_record(recipe, tmp_path)
    other = recipe.model_copy(update={"student": recipe.student.model_copy(update={"target": "endpoint"})})
    with pytest.raises(ValueError, match="gad were trained with student.target next_state where the recipe says endp"):
        check_training_record(other, tmp_path)
    write_training_record(folder, other.student, other.noise_pairs)
    check_training_record(other, tmp_path)
    with pytest.raises(ValueError, match="student.target endpoint where the recipe says next_state"):
        check_training_record(recipe, tmp_path)


def test_every_control_is_paired_as_what_it_controls():
    for name in ("gad_other_pair", "random_gradient_bounded", "first_step_anchor", "noise_augmentation"):
        assert VARIANTS[name].paired == VARIANTS["gad"].paired is True
