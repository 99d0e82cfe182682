from dataclasses import replace
from math import isnan

import pytest
import torch

from gad.data.boxes import Detection
from gad.data.emoji.caption_accuracy import (
    background_accuracy,
    caption_accuracy,
    colour_accuracy,
    colour_accuracy_when_found,
    count_accuracy,
    object_accuracy,
    relation_accuracy,
)
from gad.data.emoji.scenes import BACKGROUNDS, RELATIONS, Prompt, Thing
from gad.data.emoji.sprites import COLOURS, NATURAL, TINTED

FIRST, SECOND = Thing(TINTED[0], "red"), Thing(TINTED[1], "blue")
LEFT, RIGHT = (2.0, 20.0, 22.0, 40.0), (36.0, 22.0, 60.0, 44.0)
BESIDE = Prompt((FIRST, SECOND), 1, "left of", "white")


def seen(thing: Thing, box=LEFT, **changes) -> Detection:
    return replace(Detection(thing.noun, 0.9, box, thing.colour or "natural"), **changes)


BOTH = [seen(FIRST), seen(SECOND, RIGHT)]


def test_what_the_caption_says_is_right():
    for evaluator in (object_accuracy, count_accuracy, colour_accuracy, colour_accuracy_when_found, relation_accuracy):
        assert evaluator(BESIDE, BOTH) == 1


def test_swapped_colours_are_wrong_while_nouns_stay_right():
    swapped = [seen(FIRST, colour="blue"), seen(SECOND, RIGHT, colour="red")]
    assert colour_accuracy(BESIDE, swapped) == colour_accuracy_when_found(BESIDE, swapped) == 0
    assert object_accuracy(BESIDE, swapped) == count_accuracy(BESIDE, swapped) == 1


def test_another_noun_is_wrong():
    other = [seen(FIRST), seen(SECOND, RIGHT, noun=TINTED[2])]
    assert object_accuracy(BESIDE, other) == count_accuracy(BESIDE, other) == colour_accuracy(BESIDE, other) == 0
    assert colour_accuracy_when_found(BESIDE, other) == 1  # the noun that is found has its colour


def test_one_object_too_many_or_too_few_is_a_wrong_count():
    two = Prompt((FIRST,), 2, "and", "white")
    assert count_accuracy(two, [seen(FIRST), seen(FIRST, RIGHT)]) == 1
    assert count_accuracy(two, [seen(FIRST)]) == 0
    assert count_accuracy(two, [seen(FIRST), seen(FIRST, RIGHT), seen(SECOND, (0.0, 0.0, 9.0, 9.0))]) == 0


@pytest.mark.parametrize("relation", RELATIONS[1:])
def test_the_mirrored_relation_is_wrong(relation):
    prompt = replace(BESIDE, relation=relation)
    places = {"left of": (LEFT, RIGHT), "above": ((20.0, 2.0, 40.0, 22.0), (22.0, 36.0, 44.0, 60.0))}[relation]
    assert relation_accuracy(prompt, [seen(FIRST, places[0]), seen(SECOND, places[1])]) == 1
    assert relation_accuracy(prompt, [seen(FIRST, places[1]), seen(SECOND, places[0])]) == 0
    assert relation_accuracy(prompt, [seen(FIRST, places[0])]) == 0


def test_what_the_caption_leaves_open_is_not_judged():
    plain = Prompt((Thing(NATURAL[0], None),), 1, "and", "white")
    assert all(
        isnan(evaluator(plain, BOTH)) for evaluator in (colour_accuracy, colour_accuracy_when_found, relation_accuracy)
    )
    assert isnan(colour_accuracy_when_found(BESIDE, []))


@pytest.mark.parametrize("name", BACKGROUNDS)
def test_the_background_is_read_from_the_border(name):
    colour = torch.tensor(BACKGROUNDS[name]) / 127.5 - 1
    image = colour[:, None, None].repeat(1, 64, 64)
    image[:, 8:50, 8:50] = -1  # an object
    prompts = [Prompt((Thing(NATURAL[0], None),), 1, "and", other) for other in BACKGROUNDS]
    right = background_accuracy(image.repeat(len(prompts), 1, 1, 1), prompts)
    assert right.tolist() == [other == name for other in BACKGROUNDS]


def test_every_rendered_background_is_read_right(truth):
    scenes, images = truth
    assert background_accuracy(images, [scene.prompt for scene in scenes]).all()


def other(names, name):
    return next(n for n in names if n != name)


def recoloured(prompt: Prompt) -> Prompt:
    things = (replace(thing, colour=thing.colour and other(COLOURS, thing.colour)) for thing in prompt.things)
    return replace(prompt, things=tuple(things))


CHANGES = {
    "colour_accuracy": recoloured,
    "relation_accuracy": lambda prompt: replace(prompt, things=prompt.things[::-1]),
    "background_accuracy": lambda prompt: replace(prompt, background=other(BACKGROUNDS, prompt.background)),
}


def test_images_are_right_for_their_own_prompts(detector, truth):
    right = caption_accuracy(detector, truth[1], [scene.prompt for scene in truth[0]])
    assert min(values.nanmean() for values in right.values()) > 0.9


@pytest.mark.parametrize("judgement", CHANGES)
def test_images_are_wrong_for_changed_prompts(detector, truth, judgement):
    changed = [CHANGES[judgement](scene.prompt) for scene in truth[0]]
    assert caption_accuracy(detector, truth[1], changed)[judgement].nanmean() < 0.1


def test_images_are_wrong_for_prompts_with_other_nouns(detector, truth):
    prompts = [scene.prompt for scene in truth[0]]
    pairs = zip(prompts, prompts[1:] + prompts[:1], strict=True)
    nouns = [[{thing.noun for thing in prompt.things} for prompt in pair] for pair in pairs]
    differ = [own.isdisjoint(others) for own, others in nouns]
    right = caption_accuracy(detector, truth[1], prompts[1:] + prompts[:1])
    assert right["object_accuracy"][differ].mean() < 0.1


def test_an_image_is_judged_alike_in_a_smaller_batch(detector, truth):
    prompts = [scene.prompt for scene in truth[0]]
    together = caption_accuracy(detector, truth[1], prompts)
    for name, values in caption_accuracy(detector, truth[1][:8], prompts[:8]).items():
        assert torch.equal(values.nan_to_num(-1), together[name][:8].nan_to_num(-1))
