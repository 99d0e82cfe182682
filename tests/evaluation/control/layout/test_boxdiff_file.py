"""BoxDiff's file of prompts and boxes, and what is refused of it."""

import json

import pytest
from pydantic import ValidationError

from gad.config.layout import LayoutConfig
from gad.evaluation.control.layout.boxdiff_file import boxdiff_objects_without_name, boxdiff_two_objects, read_boxdiff
from gad.evaluation.control.layout.layout_prompt import scale_layout_prompt

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


@pytest.mark.parametrize(
    ("folder", "noun"),
    [
        ("a_cat,_asleep_on_a_chair", "cat"),
        ("two_cats", "cat"),
        ("A_Cat_and_a_dog", "cat"),
        ("a_cat.", "Cat"),
        ("two_boxes", "box"),
        ("some_berries", "berry"),
        ("a_hot_dog_and_a_cat", "hot_dog"),
        ("a_cat-shaped_chair", "chair"),
    ],
)
def test_a_noun_is_found_beside_commas_in_the_plural_and_in_capitals(tmp_path, folder, noun):
    prompts = read_boxdiff(written(tmp_path, [{"filename": f"{folder}/1.png", "objects": {noun: [0, 0, 9, 9]}}]))
    assert [thing.noun for thing in prompts[0].targets] == [noun]


def test_a_part_of_a_word_is_no_noun_and_what_is_left_out_is_named(tmp_path):
    entry = {"filename": "a_category_and_a_chair/1.png", "objects": {"cat": [0, 0, 9, 9], "chair": [0, 0, 9, 9]}}
    path = written(tmp_path, [ENTRY, entry])
    assert [thing.noun for thing in read_boxdiff(path)[1].targets] == ["chair"]
    assert boxdiff_objects_without_name(path) == ["'cat' of entry 1 (a category and a chair)"]


BAD_FILES = {
    "twice": ('[{"filename": "a_cat/1.png", "objects": {"cat": [0,0,9,9], "cat": [9,9,20,20]}}]', "gives 'cat' twice"),
    "true": ('[{"filename": "a_cat/1.png", "objects": {"cat": [true,0,9,9]}}]', "entry 0: .* must be four numbers"),
    "infinite": ('[{"filename": "a_cat/1.png", "objects": {"cat": [0,0,9,Infinity]}}]', "must be four numbers"),
    "no folder": ('[{"filename": "1.png", "objects": {}}]', "entry 0: 'filename' is '1.png'; its folder's name is the"),
    "cut short": ('[{"filename": "a_cat/1.png",', "boxes.json: no JSON, .*line 1"),
    "Latin-1": ("[\n{}, \udce9]", "boxes.json, line 2: byte 0xe9 is not UTF-8"),
    "empty": ("", "boxes.json: no JSON"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_box_file_that_would_lose_boxes_or_is_no_text_is_one_line(tmp_path, case):
    text, message = BAD_FILES[case]
    (tmp_path / "boxes.json").write_text(text, errors="surrogateescape")
    with pytest.raises(ValueError, match=message) as error:
        read_boxdiff(tmp_path / "boxes.json")
    assert "\n" not in str(error.value)


def test_a_byte_order_mark_and_equal_entries_do_no_harm(tmp_path):
    (tmp_path / "boxes.json").write_text("\ufeff" + json.dumps([ENTRY, ENTRY]))
    assert len(read_boxdiff(tmp_path / "boxes.json")) == 1


def test_boxes_of_a_file_need_a_detector():
    with pytest.raises(ValidationError, match="boxes_file and detector belong together"):
        LayoutConfig(num_prompts=2, boxes_file="boxes.json")
