import pytest
from launching import CAPTIONS

from gad.config.sample_ids import FIDELITY, LIBRARY
from gad.data.emoji import seeds
from gad.data.emoji.caption_split import (
    caption_split_parts,
    evaluation_split_captions,
    evaluator_split_parts,
    is_in_evaluation_split,
    is_in_training_split,
    share_of_captions_in_split,
    training_split_captions,
)
from gad.data.emoji.scenes import Prompt, Thing, make_scene, make_scene_prompt
from gad.data.prompts import prompt_of

pytestmark = pytest.mark.xdist_group(CAPTIONS)


@pytest.fixture(scope="session")
def trained() -> list[Prompt]:
    return [make_scene_prompt(i, seed=seeds.TEACHER, accept=is_in_training_split) for i in range(3000)]


@pytest.fixture(scope="session")
def evaluated() -> list[Prompt]:
    return [make_scene_prompt(i, seed=seeds.CONTROL, accept=is_in_evaluation_split) for i in range(300)]


def test_order_count_and_relation_do_not_change_what_a_caption_is_made_of():
    car, dog = Thing("car", "red"), Thing("dog", None)
    assert caption_split_parts(Prompt((car, dog), 2, "above", "pink")) == {"red car", "dog", "pink"}
    assert caption_split_parts(Prompt((dog, car), 2, "and", "pink")) == {"red car", "dog", "pink"}
    assert caption_split_parts(Prompt((car,), 3, "and", "pink")) == {"red car", "pink"}


def test_no_words_of_an_evaluation_caption_stand_together_in_a_training_caption(trained, evaluated):
    assert share_of_captions_in_split(evaluated, {caption_split_parts(prompt) for prompt in trained}) == 0


def test_no_evaluator_saw_the_words_of_an_evaluation_caption_with_two_things_together(evaluated):
    two = [prompt for prompt in evaluated if len(prompt.things) == 2]
    one = [prompt for prompt in evaluated if len(prompt.things) == 1]
    assert len(two) > 40 and share_of_captions_in_split(two, evaluator_split_parts()) == 0
    assert share_of_captions_in_split(one, evaluator_split_parts()) == 1


def test_every_part_of_an_evaluation_caption_is_known_from_training(trained, evaluated):
    known = frozenset().union(*map(caption_split_parts, trained))
    assert all(caption_split_parts(prompt) <= known for prompt in evaluated)


def test_most_captions_are_for_training_and_enough_are_left_for_evaluation(evaluated):
    drawn = [make_scene_prompt(i, seed=5) for i in range(3000)]
    assert 0.8 < sum(map(is_in_training_split, drawn)) / 3000 < 0.9
    assert not any(is_in_training_split(prompt) and is_in_evaluation_split(prompt) for prompt in drawn)
    assert len({prompt.caption for prompt in evaluated}) > 100


def test_a_scene_shows_the_accepted_prompt_of_its_number():
    scenes = [make_scene(i, seed=5, accept=is_in_training_split) for i in range(30)]
    assert [scene.prompt for scene in scenes] == [
        make_scene_prompt(i, seed=5, accept=is_in_training_split) for i in range(30)
    ]


def test_without_a_split_every_caption_is_drawn():
    assert training_split_captions("all") is None and evaluation_split_captions("all") is None
    assert prompt_of(range(20), "all") == prompt_of(range(20))


@pytest.mark.parametrize("start", [FIDELITY, LIBRARY])
def test_noise_pairs_read_training_captions_and_analyses_held_out_ones(start, trained):
    known = {prompt.caption for prompt in trained}
    pairs, analyses = prompt_of(range(200), "split_by_words"), prompt_of(range(start, start + 200), "split_by_words")
    assert not known & set(analyses) and not set(pairs) & set(analyses)
    assert known & set(pairs)  # short captions come again
