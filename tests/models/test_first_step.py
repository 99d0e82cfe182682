"""The teacher takes the first sampling step at inference, the student the rest: a row of its own."""

import pytest
import torch

from gad.config import Recipe
from gad.config.external import ExternalStudent
from gad.diffusion.guidance import Guided
from gad.diffusion.jvp import exact_jvp
from gad.diffusion.retimed_schedule import RetimedSchedule
from gad.diffusion.sampling import sample
from gad.models.external import load_external
from gad.models.first_step import TeacherFirstStep, first_step_models
from gad.models.model import Model
from gad.models.pipelines import pipeline_denoiser
from gad.models.students import start_student
from gad.models.weights_hash import model_weights_key

ENTRY = {"name": "teacher_first", "source": "baseline", "kind": "first_step", "num_steps": 2}


@pytest.fixture
def recipe(smoke):
    return Recipe.model_validate(smoke.model_dump() | {"external_models": [ENTRY]})


@pytest.fixture
def student(point_teacher, smoke):
    network = start_student(point_teacher, smoke.student, seed=0)
    network.network.requires_grad_(False)
    return Model(network, (2, 1, 1))


def test_it_is_the_teachers_first_steps_and_the_students_rest(recipe, point_teacher, student):
    noise = torch.randn(5, 2, 1, 1, generator=torch.Generator().manual_seed(0))
    named = [("baseline", 0, student), ("gad", 0, student), ("baseline", 1, student)]
    found = first_step_models(recipe, point_teacher, named)
    assert [(name, seed) for name, seed, _ in found] == [("teacher_first", 0), ("teacher_first", 1)]
    states = sample(found[0][2].denoiser, noise, None, num_steps=2)
    half = sample(point_teacher.denoiser, noise, None, num_steps=8, stop=4)[-1]
    assert torch.allclose(states[1], half, atol=1e-5)
    rest = sample(student.denoiser, half, None, num_steps=2, start=1)[-1]
    assert torch.allclose(states[2], rest, atol=1e-5)
    assert load_external(recipe, point_teacher) == []


def test_students_with_timesteps_of_their_own_are_refused(recipe, point_teacher, student):
    student.denoiser.schedule = RetimedSchedule(student.denoiser.schedule, (0.9, 0.4))
    with pytest.raises(ValueError, match="teacher_first: baseline has timesteps of its own"):
        first_step_models(recipe, point_teacher, [("baseline", 0, student)])


def test_its_response_to_the_noise_has_both_parts(recipe, point_teacher, student):
    (_, _, model), noise = (
        first_step_models(recipe, point_teacher, [("baseline", 0, student)])[0],
        torch.ones(1, 2, 1, 1),
    )
    direction, h = torch.tensor([1.0, -1.0]).view(1, 2, 1, 1), 1e-3

    def phi(z):
        return sample(model.denoiser, z, None, num_steps=2)[-1]

    exact = exact_jvp(phi, noise, direction).jvp
    central = (phi(noise + h * direction) - phi(noise - h * direction)) / (2 * h)
    assert torch.allclose(exact, central, rtol=0.02, atol=1e-3)


def test_guidance_is_that_of_the_entry_and_tells_models_apart(recipe, pipeline):
    teacher = Model(pipeline_denoiser(pipeline), (4, 8, 8), pipeline)
    student = Model(teacher.denoiser.copied(), (4, 8, 8), pipeline)
    keys = set()
    for scale in (1.0, 3.0):
        entry = ExternalStudent(**ENTRY | {"guidance_scale": scale})
        settings = recipe.model_copy(update={"external_models": [entry]})
        ((_, _, model),) = first_step_models(settings, teacher, [("baseline", 0, student)])
        assert isinstance(model.denoiser, TeacherFirstStep)
        assert isinstance(model.denoiser.teacher, Guided) == (scale == 3.0)
        keys.add(model_weights_key(model, teacher=teacher))
    assert len(keys | {model_weights_key(student, teacher=teacher)}) == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source": "gda"}, "gda is no variant of the recipe; it has baseline, gad"),
        ({"num_steps": 3}, "num_steps is 3, student_steps of the recipe 2"),
        ({"base": "some/pipeline"}, "base has no effect with kind first_step"),
        ({"eta": 0.5}, "eta has no effect with kind first_step"),
    ],
)
def test_entries_without_effect_are_refused(changes, message, smoke):
    with pytest.raises(ValueError, match=message):
        Recipe.model_validate(smoke.model_dump() | {"external_models": [ENTRY | changes]})


def test_one_step_students_have_no_rest(smoke):
    values = smoke.model_dump() | {"external_models": [ENTRY | {"num_steps": 1}]}
    values["noise_pairs"] |= {"student_steps": 1}
    with pytest.raises(ValueError, match="the teacher's first step is the whole trajectory"):
        Recipe.model_validate(values)


def test_a_variant_that_is_not_trained_is_named(recipe, point_teacher, student):
    with pytest.raises(ValueError, match="teacher_first: variant baseline is not trained"):
        first_step_models(recipe, point_teacher, [("gad", 0, student)])
