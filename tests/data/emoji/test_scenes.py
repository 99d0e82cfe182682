import hashlib

import numpy as np
import pytest

from gad.data.emoji.scenes import (
    BACKGROUNDS,
    EDGE,
    FREE_SIDES,
    GRID,
    GRID_SIDES,
    MARGIN,
    SIZE,
    make_scene,
    make_scene_prompt,
    render_scene,
)
from gad.data.emoji.sprites import STYLES, TINTED
from gad.data.emoji.text_encoders import MAX_TOKENS, clip_text, gemma_text, t5_text, text_encoder_vocabulary

ON_GRID = [make_scene(i) for i in range(300)]
FREE = [make_scene(i, layout="free") for i in range(300)]
SCENES = ON_GRID + FREE
TOKENIZERS = {"clip": clip_text, "t5": t5_text, "gemma": gemma_text}


def digest(parts) -> str:
    total = hashlib.sha256()
    for part in parts:
        total.update(part)
    return total.hexdigest()


@pytest.mark.parametrize(
    ("scenes", "expected"),
    [
        (ON_GRID, "45a694983ff8f285fc720f1050a2d6c10ff482a35cb2ce7fb03d81974eb14b62"),
        (FREE, "4a1ef7301d1f52ddb308a84fdd223cb3c2c8440b77cd117904fe663e3163f927"),
    ],
)
def test_scene_i_is_the_same_bytes_on_every_machine(scenes, expected):
    assert digest(render_scene(scene).tobytes() for scene in scenes[:64]) == expected


def test_caption_i_is_the_same_on_every_machine():
    captions = digest(["\n".join(scene.prompt.caption for scene in ON_GRID[:64]).encode()])
    assert captions == "b36316dd894085041eef42609a9a8e3b2345994f2e007a2ca94b3064c445e1f6"


def test_scene_shows_the_prompt_of_its_number():
    assert all(make_scene(i, seed=5).prompt == make_scene_prompt(i, seed=5) for i in range(50))


def test_seeds_give_different_scenes():
    assert [make_scene(i, seed=1) for i in range(10)] != [make_scene(i, seed=2) for i in range(10)]


def test_boxes_lie_inside_the_image():
    for scene in SCENES:
        for left, top, right, bottom in scene.boxes:
            assert MARGIN <= left < right <= SIZE - MARGIN
            assert MARGIN <= top < bottom <= SIZE - MARGIN


def test_free_boxes_have_a_size_of_their_range():
    for scene in FREE:
        low, high = FREE_SIDES[len(scene.boxes)]
        assert all(low <= max(box[2] - box[0], box[3] - box[1]) <= high for box in scene.boxes)


def test_boxes_on_the_grid_lie_in_the_middle_of_a_square_of_the_grid():
    places = set()
    for scene in ON_GRID:
        for left, top, right, bottom in scene.boxes:
            side = max(right - left, bottom - top)
            corner = left - (side - (right - left)) // 2, top - (side - (bottom - top)) // 2
            assert side in GRID_SIDES[len(scene.boxes)]
            assert all((c - EDGE) % GRID == 0 and EDGE <= c <= SIZE - EDGE - side for c in corner)
            places.add((side, corner))
    assert len([place for place in places if place[0] == 32]) == 16  # every place occurs


def test_boxes_stand_apart():
    for scene in SCENES:
        covered = np.zeros((SIZE, SIZE), int)
        for left, top, right, bottom in scene.boxes:
            covered[top:bottom, left:right] += 1
        assert covered.max() == 1


def test_boxes_are_tight_around_the_drawn_pixels():
    for scene in SCENES:
        drawn = (render_scene(scene) != BACKGROUNDS[scene.prompt.background]).any(-1)
        for left, top, right, bottom in scene.boxes:
            inside = drawn[top:bottom, left:right]
            assert inside[0].any() and inside[-1].any() and inside[:, 0].any() and inside[:, -1].any()
            drawn[top:bottom, left:right] = False
        assert not drawn.any()


def test_relations_hold():
    pairs = [scene for scene in SCENES if len(scene.prompt.things) == 2]
    assert {scene.prompt.relation for scene in pairs} == {"and", "left of", "above"}
    for scene in pairs:
        first, second = scene.boxes
        if scene.prompt.relation == "left of":
            assert first[2] <= second[0]
        if scene.prompt.relation == "above":
            assert first[3] <= second[1]


def test_there_is_one_box_for_each_object():
    assert all(len(scene.boxes) == len(scene.prompt.objects) for scene in SCENES)
    assert {len(scene.boxes) for scene in SCENES} == {1, 2, 3}


def test_only_nouns_of_a_single_hue_carry_a_colour():
    things = [thing for scene in SCENES for thing in scene.prompt.things]
    assert all((thing.colour is not None) == (thing.noun in TINTED) for thing in things)


def test_captions_leave_out_the_style():
    assert {scene.style for scene in SCENES} == set(STYLES)
    assert not any(style in scene.prompt.caption for scene in SCENES for style in STYLES)


def test_captions_use_only_the_known_words():
    assert {word for scene in SCENES for word in scene.prompt.caption.split()} <= set(text_encoder_vocabulary())


@pytest.mark.parametrize("name", TOKENIZERS)
def test_every_caption_word_is_one_token(name):
    tokenizer, _ = TOKENIZERS[name]()
    extra = len(tokenizer("").input_ids)
    known = text_encoder_vocabulary()
    # a word at the start of a caption and a word after another
    assert all(len(ids) == extra + 1 for ids in tokenizer(known).input_ids)
    assert all(len(ids) == extra + 2 for ids in tokenizer([f"a {word}" for word in known]).input_ids)
    tokens = [tuple(ids) for ids in tokenizer(known).input_ids]
    assert len(set(tokens)) == len(known)
    assert tokenizer.unk_token_id not in {i for ids in tokens for i in ids[:-1]} or name == "clip"


@pytest.mark.parametrize("name", TOKENIZERS)
def test_no_caption_exceeds_max_tokens(name):
    tokenizer, _ = TOKENIZERS[name]()
    captions = [make_scene_prompt(i, seed=1).caption for i in range(2000)]
    assert max(len(ids) for ids in tokenizer(captions).input_ids) <= MAX_TOKENS
