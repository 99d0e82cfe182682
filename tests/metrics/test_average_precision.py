import pytest
import torch
from transformers import YolosConfig, YolosForObjectDetection

from gad.data.boxes import Detection, GroundTruth, best_box_overlap
from gad.metrics.average_precision import average_precision
from gad.metrics.detector_loading import load_hub_detector, missing_detector_labels
from gad.metrics.object_detector import HubDetector, detector_class_scores, prepare_detector_pixels

BOX = (10.0, 20.0, 34.0, 44.0)


def seen(noun: str, box, score: float = 0.9) -> Detection:
    return Detection(noun, score, tuple(map(float, box)), "")


def shifted(box, share: float):
    move = share * (box[2] - box[0])
    return (box[0] + move, box[1], box[2] + move, box[3])


ASKED = [[GroundTruth("car", BOX), GroundTruth("dog", (40, 40, 60, 60))], [GroundTruth("car", (0, 0, 20, 20))]]


def test_a_perfect_renderer_gets_one():
    found = [[seen(thing.noun, thing.box) for thing in things] for things in ASKED]
    assert average_precision(found, ASKED) == {"ap": pytest.approx(1), "ap50": pytest.approx(1)}
    assert all(best_box_overlap(one, things) == pytest.approx(1) for one, things in zip(found, ASKED, strict=True))


def test_boxes_shifted_by_half_their_width_overlap_by_a_third_and_count_for_nothing():
    found = [[seen(thing.noun, shifted(thing.box, 0.5)) for thing in things] for things in ASKED]
    assert average_precision(found, ASKED) == {"ap": 0, "ap50": 0}
    assert all(best_box_overlap(one, things) == pytest.approx(1 / 3) for one, things in zip(found, ASKED, strict=True))


def test_boxes_shifted_by_a_fifth_pass_four_of_the_ten_thresholds():
    """Intersection over union is .8 / 1.2 = 2/3: above .5, .55, .6 and .65."""
    found = [[seen(thing.noun, shifted(thing.box, 0.2)) for thing in things] for things in ASKED]
    assert average_precision(found, ASKED) == {"ap": pytest.approx(0.4), "ap50": pytest.approx(1)}


def test_a_wrong_detection_with_a_higher_score_halves_the_precision():
    """One truth; ranked first is a miss: precision is 1/2 at every recall."""
    found = [[seen("car", (50, 50, 60, 60), 0.95), seen("car", BOX, 0.5)]]
    assert average_precision(found, [[GroundTruth("car", BOX)]])["ap50"] == pytest.approx(0.5)
    later = [[seen("car", (50, 50, 60, 60), 0.4), seen("car", BOX, 0.5)]]
    assert average_precision(later, [[GroundTruth("car", BOX)]])["ap50"] == pytest.approx(1)


def test_an_object_that_is_missed_in_half_of_the_images_gets_the_recall_points_it_reached():
    """Precision 1 up to recall 1/2, which are 51 of COCO's 101 points."""
    found = [[seen("car", BOX)], []]
    assert average_precision(found, [[GroundTruth("car", BOX)]] * 2)["ap50"] == pytest.approx(51 / 101)


def test_each_noun_counts_alike_and_others_do_not_count():
    """car found, dog not: 1/2; a detection of a noun that nobody asked for changes nothing."""
    asked = [[GroundTruth("car", BOX), GroundTruth("dog", (40, 40, 60, 60))]]
    found = [[seen("car", BOX), seen("cat", BOX, 0.99)]]
    assert average_precision(found, asked)["ap50"] == pytest.approx(0.5)


def test_nothing_found_is_zero_and_nothing_asked_is_an_error():
    assert average_precision([[], []], ASKED) == {"ap": 0, "ap50": 0}
    with pytest.raises(ValueError, match="at least one box"):
        average_precision([[]], [[]])
    with pytest.raises(ValueError, match="of 1 images cannot be compared with the boxes of 2"):
        average_precision([[]], ASKED)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny random YOLOS of transformers' own class, saved."""
    torch.manual_seed(0)
    config = YolosConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=[32, 32],
        patch_size=8, num_detection_tokens=5, id2label={0: "car", 1: "dog"}, label2id={"car": 0, "dog": 1},
    )  # fmt: skip
    path = tmp_path_factory.mktemp("detector") / "yolos"
    YolosForObjectDetection(config).save_pretrained(path)
    return path


def test_a_transformers_detector_says_what_its_logits_and_boxes_mean(folder):
    detector = load_hub_detector(str(folder))
    detector = HubDetector(detector.network, size=32, threshold=0.0, batch_size=2)
    images = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    found = detector(images)
    with torch.no_grad():
        answer = detector.network(pixel_values=prepare_detector_pixels(images, 32))
    for sample, detections in enumerate(found):
        assert [d.score for d in detections] == sorted((d.score for d in detections), reverse=True)
        shares = answer.logits[sample].softmax(-1)
        best = int(shares[:, :2].max(1).values.argmax())
        x, y, width, height = (64 * answer.pred_boxes[sample, best]).tolist()
        sides = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
        assert detections[0].noun == ["car", "dog"][int(shares[best, :2].argmax())]
        assert detections[0].score == pytest.approx(float(shares[best, :2].max()), abs=1e-5)
        assert detections[0].box == pytest.approx([min(max(side, 0), 64) for side in sides], abs=1e-3)
    assert missing_detector_labels(detector, ["dog", "boat"]) == ["boat"]


def test_logits_without_a_class_for_nothing_are_read_as_sigmoids():
    logits = torch.tensor([[[0.0, 2.0]]])
    assert torch.allclose(detector_class_scores(logits, 2), logits.sigmoid())
    assert torch.allclose(detector_class_scores(logits, 1), logits.softmax(-1)[..., :1])


def test_a_missing_detector_is_refused_in_one_line(tmp_path):
    with pytest.raises(ValueError, match="cannot load an object detector from") as error:
        load_hub_detector(str(tmp_path))
    assert "\n" not in str(error.value)
