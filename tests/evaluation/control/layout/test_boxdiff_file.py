"""BoxDiff's file of prompts and boxes, and what is refused of it."""

import json

import pytest
from pydantic import ValidationError

from gad.config.layout import LayoutConfig
from gad.evaluation.control.layout.boxdiff_file import boxdiff_two_objects, read_boxdiff
from gad.evaluation.control.layout.prompts import scale_layout_prompt

ENTRY = {"filename": "a_cat_and_a_chair/3.png", "objects": {"cat": [0, 12, 300, 505], "chair": [310, 0, 512, 512]}}


def written(tmp_path, entries):
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps(entries))
    return path


def test_the_box_file_gives_prompts_and_the_boxes_they_name(tmp_path):
    other = {"filename": "a_bird/1.png", "objects": {"bird": [1, 2, 30, 40], "car": [0, 0, 9, 9]}}
    prompts = read_boxdiff(written(tmp_path, [ENTRY, other, {"filename": "a_dog/0.png", "objects": {}}]))
    assert [prompt.caption for prompt in prompts] == ["a cat and a chair", "a bird"]
    assert [[thing.noun for thing in prompt.targets] for prompt in prompts] == [["cat", "chair"], ["bird"]]
    assert scale_layout_prompt(prompts[1], 0.5).targets[0].box == (0.5, 1, 15, 20)


def test_two_object_entries_are_drawn_by_seed(tmp_path):
    entries = [{"filename": f"a_cat_and_a_chair/{i}.png", "objects": ENTRY["objects"]} for i in range(20)]
    entries = [{**entry, "objects": {"cat": [i, 0, 99, 99], "chair": [0, 0, 9, 9]}} for i, entry in enumerate(entries)]
    prompts = read_boxdiff(written(tmp_path, entries))
    first, again, other = (boxdiff_two_objects(prompts, 6, seed=seed) for seed in (0, 0, 1))
    assert first == again != other and len(first) == 6 and len(boxdiff_two_objects(prompts, 99, seed=0)) == 20


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({}, "holds a dict; expected a list"),
        ([{"filename": "a/1.png"}], "entry 0: 'objects' is missing"),
        ([ENTRY, {"objects": {}}], "entry 1: 'filename' is missing"),
        (
            [{"filename": "a_cat/1.png", "objects": {"cat": [0, 0, 513, 9]}}],
            "entry 0: box of 'cat' .* leaves the image",
        ),
        ([{"filename": "a_cat/1.png", "objects": {"cat": [9, 0, 9, 9]}}], "entry 0: box of 'cat' .* has no area"),
        ([{"filename": "a_cat/1.png", "objects": {"cat": [9, 0, 9]}}], "must be four numbers"),
        ([{"filename": "a_cat/1.png", "objects": {"dog": [0, 0, 9, 9]}}], "no entry with a box of an object"),
    ],
)
def test_a_faulty_box_file_is_refused_in_one_line(tmp_path, entries, message):
    with pytest.raises(ValueError, match=message) as error:
        read_boxdiff(written(tmp_path, entries))
    assert "\n" not in str(error.value)


def test_boxes_of_a_file_need_a_detector():
    with pytest.raises(ValidationError, match="boxes_file and detector belong together"):
        LayoutConfig(num_prompts=2, boxes_file="boxes.json")
