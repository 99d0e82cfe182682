"""The section of held-out curves: when is measured, and what is refused."""

import pytest
from pydantic import ValidationError

from gad.config import StudentConfig, ValidationConfig


@pytest.mark.parametrize(
    ("first", "num_steps", "steps"),
    [
        (50, 1000, [0, 50, 100, 200, 400, 800, 1000]),
        (50, 1600, [0, 50, 100, 200, 400, 800, 1600]),
        (50, 50, [0, 50]),
        (50, 20, [0, 20]),
        (5, 20, [0, 5, 10, 20]),
    ],
)
def test_steps_double_from_the_first_and_end_with_the_last(first, num_steps, steps):
    assert ValidationConfig(first_step=first).steps(num_steps) == steps


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"num_noises": 30, "num_prompts": 8}, "num_noises 30 must be a multiple of num_prompts 8, at least twice"),
        ({"num_noises": 8, "num_prompts": 8}, "num_noises 8 must be a multiple of num_prompts 8, at least twice"),
        ({"num_noises": 8, "num_prompts": 4, "images": 9}, "images 9: there are only 8 noises to show"),
        ({"perturbation_scale": 1e-9}, "h"),
        ({"noises": 4}, "Extra inputs"),
    ],
)
def test_impossible_validations_are_refused(given, fault):
    with pytest.raises(ValidationError, match=fault):
        ValidationConfig(**given)


def test_sharded_students_are_not_validated(smoke):
    section = {"validation": ValidationConfig(), "shard": True}
    with pytest.raises(ValidationError, match="shard goes without validation"):
        StudentConfig.model_validate(smoke.student.model_dump() | section)


def test_recipes_are_not_validated_unless_they_say_so(smoke):
    assert smoke.student.validation is None
