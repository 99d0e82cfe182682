"""Composition: GenEval's rules on detections written down by hand, its file, and images through real networks."""

import json
from dataclasses import replace

import hub_folders
import pytest
import torch

from gad.config.control import CompositionConfig
from gad.data.boxes import Detection
from gad.evaluation.control.composition.colours import ColourReader, crop_box
from gad.evaluation.control.composition.composition import (
    asked_detections,
    composition_parts,
    prepare_composition,
    run_composition,
    summarise_composition,
)
from gad.evaluation.control.composition.geneval_file import (
    CompositionPrompt,
    Requirement,
    evenly_spaced_prompts,
    read_geneval,
)
from gad.evaluation.control.composition.requirements import box_relations, requirements_met
from gad.evaluation.control.tasks import run_tasks
from gad.metrics.clip_encoder import Encoder
from gad.models.model import load_model
from gad.models.sampler import TEACHER, Sampler
from gad.runtime.cache import at_once

HERE = (0, 0, 10, 10)


def seen(*nouns: str, box=HERE) -> list[Detection]:
    return [Detection(noun, 0.9, box, "") for noun in nouns]


def prompt(*include: Requirement, exclude=()) -> CompositionPrompt:
    return CompositionPrompt("a caption", "tag", include, exclude)


def test_sixteen_detections_of_a_noun_are_looked_at():
    asked = prompt(Requirement("dog", 1), exclude=(Requirement("dog", 17),))
    assert requirements_met(seen(*["dog"] * 20), asked, None)


def test_a_relation_holds_for_every_pair():
    asked = prompt(Requirement("cat", 1), Requirement("dog", 2, relation="right of", target=0))
    right, left = seen("dog", box=(20, 0, 30, 10)), seen("dog", box=(-20, 0, -10, 10))
    assert requirements_met(seen("cat") + right + right, asked, None)
    assert not requirements_met(seen("cat") + right + left, asked, None)


@pytest.mark.parametrize(("tag", "nouns"), [("counting", ["mouse"]), ("colors", ["mouse", "mouse", "dog"])])
def test_detections_have_the_files_names_and_the_tags_threshold(tag, nouns):
    config = CompositionConfig(prompts="a", detector="b", labels={"computer mouse": "mouse"})
    scores = (("mouse", 0.95), ("mouse", 0.5), ("dog", 0.31), ("cat", 0.99), ("mouse", 0.3))
    found = [Detection(noun, score, HERE, "") for noun, score in scores]
    asked = CompositionPrompt("c", tag, (Requirement("computer mouse", 1), Requirement("dog", 1)))
    assert [each.noun for each in asked_detections(found, asked, config)] == [
        noun.replace("mouse", "computer mouse") for noun in nouns
    ]


def test_every_object_has_to_be_found_as_often_as_asked():
    asked = prompt(Requirement("dog", 2), Requirement("cat", 1))
    assert requirements_met(seen("dog", "cat", "dog", "car"), asked, None)
    assert not requirements_met(seen("dog", "cat"), asked, None)
    assert not requirements_met(seen("dog", "dog"), asked, None)


def test_a_count_is_missed_by_one_too_many_where_that_is_excluded():
    asked = prompt(Requirement("dog", 2), exclude=(Requirement("dog", 3),))
    assert requirements_met(seen("dog", "dog"), asked, None)
    assert not requirements_met(seen("dog", "dog", "dog"), asked, None)


def test_colour_is_read_of_the_surest_objects_alone():
    asked, shown = prompt(Requirement("car", 1, colour="red")), seen("car", "car")
    assert requirements_met(shown, asked, lambda own: ["red", "blue"][: len(own)])
    assert not requirements_met(shown, asked, lambda own: ["blue", "red"][: len(own)])


@pytest.mark.parametrize(
    ("box", "relations"),
    [
        ((20, 0, 30, 10), {"right of"}),
        ((-20, 0, -10, 10), {"left of"}),
        ((0, 20, 10, 30), {"below"}),
        ((20, 21, 30, 31), {"right of", "below"}),
        ((20, 60, 30, 70), {"below"}),  # (20 - 2) / |(20, 60)| is below a half
        ((2, 0, 12, 10), set()),  # 2 pixels apart, of which a tenth of both widths is 2
        (HERE, set()),
    ],
)
def test_a_relation_holds_beyond_a_tenth_of_both_objects_extents(box, relations):
    assert box_relations(box, HERE) == relations


def test_a_relation_is_to_the_objects_of_an_earlier_requirement():
    asked = prompt(Requirement("cat", 1), Requirement("dog", 1, relation="right of", target=0))
    right, left = seen("dog", box=(20, 0, 30, 10)), seen("dog", box=(-20, 0, -10, 10))
    assert requirements_met(seen("cat") + right, asked, None)
    assert not requirements_met(seen("cat") + left, asked, None)


def test_the_published_files_lines_are_read(tmp_path):
    lines = [
        {"tag": "counting", "include": [{"class": "dog", "count": 2}], "exclude": [{"class": "dog", "count": 3}],
         "prompt": "a photo of two dogs"},
        {"tag": "position", "include": [{"class": "cat", "count": 1},
                                        {"class": "dog", "count": 1, "position": ["left of", 0]}],
         "prompt": "a photo of a dog left of a cat"},
        {"tag": "colors", "include": [{"class": "car", "count": 1, "color": "red"}], "prompt": "a photo of a red car"},
    ]  # fmt: skip
    path = tmp_path / "evaluation_metadata.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)) + "\n")
    count, place, colour = read_geneval(path)
    assert count.exclude == (Requirement("dog", 3),) and count.nouns == ["dog", "dog"]
    assert place.include[1] == Requirement("dog", 1, relation="left of", target=0)
    assert colour.names_colour and not place.names_colour and colour.caption == "a photo of a red car"
    assert evenly_spaced_prompts([count, place, colour], 2) == [count, place]
    with pytest.raises(ValueError, match="holds 3 prompts, 4 are asked for"):
        evenly_spaced_prompts([count, place, colour], 4)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: no JSON"),
        ("[]", "line 2: a list; expected an object"),
        ('{"tag": "a", "prompt": "b"}', "line 2: 'include' is missing"),
        ('{"tag": "a", "prompt": "b", "include": [{"count": 1}]}', "entry 0 has no 'class'"),
        ('{"tag": "a", "prompt": "b", "include": [{"class": "c", "count": 0}]}', "the count of 'c' is 0"),
        ('{"tag": "a", "prompt": "b", "include": [{"class": "c", "count": 1, "color": "teal"}]}', "unknown color"),
        (
            '{"tag": "a", "prompt": "b", "include": [{"class": "c", "count": 1, "position": ["above", 0]}]}',
            "is to entry 0, which is not before it",
        ),
        ('{"tag": "a", "prompt": "b", "include": [{"class": "c", "count": 1, "position": 5}]}', "position of 'c' is 5"),
        (
            '{"tag": "a", "prompt": "b", "include": [{"class": "c", "count": 1}], "exclude": null}',
            "'exclude' is no list",
        ),
    ],
)
def test_a_faulty_line_of_the_file_is_named(tmp_path, line, message):
    path = tmp_path / "geneval.jsonl"
    path.write_text('{"tag": "a", "prompt": "b", "include": [{"class": "c", "count": 1}]}\n' + line)
    with pytest.raises(ValueError, match=message) as error:
        read_geneval(path)
    assert "\n" not in str(error.value) and str(path) in str(error.value)


def test_a_colour_is_the_one_whose_captions_are_nearest_to_the_crop():
    """An encoder whose features are the mean pixel, and of a caption the colour that it names."""
    pixels = {"red": (1.0, -1.0, -1.0), "green": (-1.0, 1.0, -1.0), "blue": (-1.0, -1.0, 1.0)}

    def texts(captions):
        named = [
            next((c for c in pixels if c in caption.split() or f"{c}-colored" in caption), None) for caption in captions
        ]
        return torch.nn.functional.normalize(torch.tensor([pixels.get(c, (-1.0, -1.0, -1.0)) for c in named]), dim=1)

    encoder = Encoder("mean", lambda x: torch.nn.functional.normalize(x.mean((2, 3)), dim=1), texts)
    image = torch.tensor(pixels["green"]).view(3, 1, 1).repeat(1, 16, 16)
    image[:, 4:8, 8:12] = torch.tensor(pixels["blue"]).view(3, 1, 1)
    read = ColourReader(encoder)
    assert read(image, [*seen("car", box=(8, 4, 12, 8)), *seen("car", box=(0, 0, 8, 16))]) == ["blue", "green"]
    assert read(image, []) == [] and crop_box(image, (15.9, 15.9, 16, 16)).shape == (1, 3, 1, 1)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    root = tmp_path_factory.mktemp("composition")
    settings = hub_folders.small_recipe("pixart_tdm", root)
    return settings, Sampler(TEACHER, 0, load_model(root / "hub"), 2, batch_size=3)


def test_images_of_every_prompt_are_read_by_a_detector_and_a_clip(tiny):
    settings, sampler = tiny
    config = settings.control.composition
    config = config.model_copy(update={"threshold": 0.05, "counting_threshold": 0.05})
    inputs = prepare_composition(sampler, settings)
    made = run_composition(sampler, inputs, config, at_once.every(composition_parts(sampler, inputs, config)))
    assert made.rows["prompt"].tolist() == [0, 0, 1, 1] and made.rows["sample"].tolist() == [0, 1, 0, 1]
    assert len(made.outputs) == 4 and made.outputs.isfinite().all() and (made.rows["found"] > 0).all()
    for row, image in zip(made.rows.itertuples(), made.outputs, strict=True):
        found = inputs.detect(image[None])[0]
        car = [each for each in found if each.noun == "car"][:1]
        right = any(each.noun == "cat" for each in found)
        if row.tag == "color_attr":
            right &= inputs.colours(image, [replace(each, noun="automobile") for each in car]) == ["red"]
        assert row.correct == float(right)
    numbers = summarise_composition(made.rows)
    tags = [numbers["composition_color_attr"], numbers["composition_single_object"]]
    assert numbers["composition"] == pytest.approx(sum(tags) / 2)


def test_images_of_the_first_prompts_alone_are_given_back(tiny, tmp_path):
    settings, sampler = tiny
    lines = [{"tag": "t", "prompt": f"a cat {i}", "include": [{"class": "cat", "count": 1}]} for i in range(9)]
    (tmp_path / "geneval.jsonl").write_text("\n".join(map(json.dumps, lines)))
    own = settings.control.composition.model_copy(update={"prompts": str(tmp_path / "geneval.jsonl")})
    only = {"composition": own, "noise_query": None, "noise_optimisation": None, "layout": None}
    settings = settings.model_copy(update={"control": settings.control.model_copy(update=only)})
    (result,) = [each for each in run_tasks(sampler.model, [], settings) if each.task == "composition"]
    assert len(result.rows) == 18 and len(result.outputs) == 16 and result.rows["kept"].sum() == 16


def test_what_the_detector_cannot_name_and_a_missing_clip_are_one_line(tiny):
    settings, sampler = tiny
    control, own = settings.control, settings.control.composition
    for changes, message in (
        ({"composition": own.model_copy(update={"labels": {}})}, "no label for automobile; say what it calls them"),
        ({"clip": None}, "asks for colours, which a CLIP reads; name one in control.clip"),
    ):
        changed = settings.model_copy(update={"control": control.model_copy(update=changes)})
        with pytest.raises(ValueError, match=message) as error:
            prepare_composition(sampler, changed)
        assert "\n" not in str(error.value)


def test_a_threshold_below_what_a_detector_reports_is_refused():
    with pytest.raises(ValueError, match="threshold"):
        CompositionConfig(prompts="a", detector="b", threshold=0.01)
