from collections import Counter
from dataclasses import replace

import pytest
import torch

from gad.data.boxes import box_iou
from gad.data.emoji.detector import (
    Detector,
    Predictions,
    detect_emoji_style,
    detect_emojis,
    detector_losses,
    load_emoji_detector,
    save_emoji_detector,
)
from gad.data.emoji.detector_grid import detector_grid_targets
from gad.data.emoji.sprites import STYLES


@pytest.fixture(scope="module")
def found(detector, truth):
    return detect_emojis(detector, truth[1])


def share(right) -> float:
    return sum(right) / len(right)


def test_it_finds_the_rendered_nouns_as_often_as_they_are_there(found, truth):
    pairs = zip(truth[0], found, strict=True)
    right = [Counter(d.noun for d in seen) == Counter(t.noun for t in scene.prompt.objects) for scene, seen in pairs]
    assert share(right) > 0.9


def test_it_finds_the_rendered_boxes_and_colours(found, truth):
    boxes, colours = [], []
    for scene, seen in zip(truth[0], found, strict=True):
        for thing, box in zip(scene.prompt.objects, scene.boxes, strict=True):
            best = max((d for d in seen if d.noun == thing.noun), key=lambda d: box_iou(d.box, box), default=None)
            if best:
                boxes.append(box_iou(best.box, box))
                colours.append(best.colour == (thing.colour or "natural"))
    assert share(boxes) > 0.75
    assert share(colours) > 0.95


def test_it_tells_the_style_of_rendered_scenes(detector, truth):
    scenes, images = truth
    assert (
        share([STYLES[i] == scene.style for i, scene in zip(detect_emoji_style(detector, images), scenes, strict=True)])
        > 0.9
    )


def test_it_finds_nothing_on_an_empty_background(detector):
    assert detect_emojis(detector, torch.full((1, 3, 64, 64), 0.9)) == [[]]


def test_an_image_is_judged_alike_alone_and_in_a_batch(detector, found, truth):
    alone = detect_emojis(detector, truth[1][:1])[0]
    assert [(d.noun, d.colour) for d in alone] == [(d.noun, d.colour) for d in found[0]]
    assert [d.score for d in alone] == pytest.approx([d.score for d in found[0]], abs=1e-4)


def test_losses_vanish_for_the_truth_and_grow_for_one_wrong_sample(truth):
    targets = detector_grid_targets(truth[0][:3])
    one_hot = {name: 40.0 * torch.nn.functional.one_hot(getattr(targets, name)) for name in ("style", "background")}
    predicted = Predictions(
        noun=torch.where(targets.heat == 1, 20.0, -20.0),
        box=targets.box,
        colour=40.0 * torch.nn.functional.one_hot(targets.colour, 6).permute(0, 3, 1, 2),
        **one_hot,
    )
    assert all(loss.max() < 1e-2 for loss in detector_losses(predicted, targets).values())
    box = predicted.box.clone()
    box[1] += 16  # pixels
    assert detector_losses(replace(predicted, box=box), targets)["box"].tolist() == pytest.approx([0, 1, 0])


def test_saving_and_loading_keeps_the_answers(tmp_path, truth):
    torch.manual_seed(0)
    network = Detector(8).eval()
    save_emoji_detector(network, tmp_path / "detector")
    loaded = load_emoji_detector(tmp_path / "detector")
    with torch.no_grad():
        first, again = network(truth[1][:2]), loaded(truth[1][:2])
    assert torch.allclose(first.noun, again.noun, atol=2e-2)  # weights are stored in half precision
    assert not any(p.requires_grad for p in loaded.parameters())
    assert not list((tmp_path / "detector").glob("*.tmp"))


def test_saving_again_gives_the_same_bytes(tmp_path, detector):
    for name in ("a", "b"):
        save_emoji_detector(detector, tmp_path / name)
    assert (tmp_path / "a" / "model.safetensors").read_bytes() == (tmp_path / "b" / "model.safetensors").read_bytes()


def test_a_missing_detector_names_the_command_that_makes_it(tmp_path):
    with pytest.raises(FileNotFoundError, match="dvc repro dataset") as error:
        load_emoji_detector(tmp_path)
    assert "\n" not in str(error.value)
