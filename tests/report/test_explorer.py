import io
import time

import pytest
import torch
from PIL import Image

from gad.diffusion.noise import noise_low_frequency_part, noise_span_part
from gad.models.model import Model
from gad.models.pipelines import pipeline_denoiser
from gad.models.sampler import Sampler
from gad.models.students import start_student
from gad.report import explorer as explore
from gad.report import figures
from gad.report.explorer import ANGLES, Explorer, Place
from gad.report.explorer_widget import make_explorer_widget


@pytest.fixture
def points(point_teacher, smoke):
    """The smoke recipe's teacher and an untrained student."""
    student = Model(start_student(point_teacher, smoke.student, seed=0), (2, 1, 1))
    return Explorer(Sampler("teacher", 0, point_teacher, 4), (Sampler("baseline", 0, student, 1),), ("",))


@pytest.fixture(scope="module")
def pictures(pipelines):
    """A tiny flow teacher, and itself in one step as its student."""
    model = Model(pipeline_denoiser(pipelines["flow"]), (4, 16, 16), pipelines["flow"])
    return Explorer(Sampler("teacher", 0, model, 2, 2.0), (Sampler("gad", 0, model, 1),), ("a red car", "a dog"))


def projection(explorer, place, latent):
    if place.direction == "isotropic":
        return latent
    if place.direction == "low_frequency":
        return noise_low_frequency_part(latent, 4)
    return noise_span_part(latent, explorer._singular(place, explorer.noises(place, [0])))


@pytest.mark.parametrize("kind", explore.DIRECTIONS)
def test_a_walk_starts_at_the_noise_and_stays_in_the_directions_space(pictures, kind):
    place = Place("a dog", 3, kind)
    start, turned, back = (pictures.noises(place, [angle]) for angle in (0, 60, -60))
    moved = turned - start
    assert torch.equal(start, pictures.noises(Place("a dog", 3, "isotropic"), [0]))
    assert moved.norm() > 0.1 and not torch.allclose(turned, back)
    assert torch.allclose(projection(pictures, place, moved), moved, atol=1e-4)


def test_a_quarter_turn_leaves_nothing_of_the_start_in_the_directions_space(pictures):
    place = Place("a dog", 3, "low_frequency")
    forth, back = (projection(pictures, place, pictures.noises(place, [angle])) for angle in (90, -90))
    assert torch.allclose(forth, -back, atol=1e-5)


def test_models_are_shown_what_they_make_of_the_turned_noise(pictures):
    place = Place("a red car", 1, "isotropic")
    seen = pictures.look(place, 33)
    assert list(seen) == ["teacher at 30°", "gad"]
    for name, sampler, angle in (("teacher at 30°", pictures.teacher, 30), ("gad", pictures.students[0], 33)):
        assert torch.allclose(seen[name], sampler.generate(pictures.noises(place, [angle]), ["a red car"]), atol=1e-4)
    assert not torch.equal(pictures.look(place, -60)["gad"], seen["gad"])


def test_the_teacher_is_asked_once_for_each_place(pictures):
    place = Place("a dog", 5, "isotropic")
    first = pictures.look(place, 0)["teacher at 0°"]
    kept = pictures.outputs[place]
    assert kept.shape[0] == len(ANGLES)
    pictures.look(place, 90)
    assert pictures.outputs[place] is kept and torch.equal(first, kept[len(ANGLES) // 2])


def test_students_are_redrawn_in_under_half_a_second(pictures):
    place = Place("a red car", 1, "low_frequency")
    figures.explorer_strip_png(pictures.look(place, 0))
    start = time.process_time()
    figures.explorer_strip_png(pictures.look(place, 12))
    assert time.process_time() - start < 0.5


def test_points_walk_too(points):
    assert points.directions == ("isotropic", "singular")
    for kind in points.directions:
        seen = points.look(Place("", 0, kind), 45)
        assert all(made.shape == (explore.NUM_POINTS, 2) for made in seen.values())
    strip = points.strip(Place("", 0, "isotropic"), angles=(0, 30))
    assert list(strip) == ["teacher", "baseline"] and strip["teacher"].shape == (2 * explore.NUM_POINTS, 2)


def test_the_strip_shows_each_model_beside_the_others(points):
    seen = points.look(Place("", 0, "isotropic"), 0)
    picture = Image.open(io.BytesIO(figures.explorer_strip_png(seen, reference=torch.zeros(1, 2))))
    assert picture.size == (2 * 192 + 8, 192 + 18)
    assert len(picture.getcolors(1 << 16)) > 2  # something is drawn


def test_moving_a_slider_changes_the_picture(points):
    box = make_explorer_widget(["smoke"], "smoke", lambda recipe: points, figures.explorer_strip_png)
    _, sliders = box.children[:2]
    seed, direction, angle = sliders.children
    image = box.children[2]
    shown = [image.value]
    for control, value in ((angle, 60), (seed, 2), (direction, "singular")):
        control.value = value
        shown.append(image.value)
    assert len(set(shown)) == 4


def test_another_recipe_brings_its_prompts_and_directions(points, pictures):
    opened = {"smoke": points, "emoji": pictures}
    box = make_explorer_widget(list(opened), "smoke", opened.__getitem__, figures.explorer_strip_png)
    recipe, prompt = box.children[0].children
    recipe.value = "emoji"
    assert prompt.options == ("a red car", "a dog") and prompt.value == "a red car"
    assert "low_frequency" in box.children[1].children[1].options


def test_a_recipe_of_points_is_drawn_on_its_own_points(points, pictures):
    opened, drawn = {"emoji": pictures, "smoke": points}, []

    def picture(answers, *, reference):
        drawn.append(reference)
        return figures.explorer_strip_png(answers, reference=reference)

    box = make_explorer_widget(list(opened), "emoji", opened.__getitem__, picture)
    assert drawn[-1] is None
    box.children[0].children[0].value = "smoke"
    assert drawn[-1].shape == (len(points.teacher.model.denoiser.points), 2)


def test_a_broken_student_is_not_passed_over(monkeypatch, point_teacher):
    def broken(recipe, teacher):
        raise ValueError("cannot load seed_0")

    monkeypatch.setattr(explore, "has_finished_student", lambda recipe: True)
    monkeypatch.setattr(explore, "load_students", broken)
    monkeypatch.setattr(explore, "load_model", lambda folder: point_teacher)
    with pytest.raises(ValueError, match="cannot load seed_0"):
        explore.explorer_of("smoke")


def test_without_students_the_teacher_is_explored_alone(monkeypatch, point_teacher):
    monkeypatch.setattr(explore, "has_finished_student", lambda recipe: False)
    monkeypatch.setattr(explore, "load_model", lambda folder: point_teacher)
    explorer = explore.explorer_of("smoke")
    assert explorer.students == () and list(explorer.look(Place("", 0, "isotropic"), 0)) == ["teacher at 0°"]
