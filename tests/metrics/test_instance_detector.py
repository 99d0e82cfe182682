"""A Mask2Former as detector: scores and boxes as transformers itself reads its masks, colours of what they show."""

import numpy as np
import pytest
import torch
from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, SwinConfig
from transformers.models.mask2former.image_processing_pil_mask2former import Mask2FormerImageProcessorPil

from gad.data.boxes import Detection
from gad.evaluation.control.composition.colours import ColourReader, on_grey
from gad.metrics.clip_encoder import Encoder
from gad.metrics.detector_loading import load_hub_detector, missing_detector_labels
from gad.metrics.instance_detector import InstanceDetector, mask_box
from gad.metrics.object_detector import prepare_detector_pixels

SIDE = 64


@pytest.fixture(scope="module")
def detector(tmp_path_factory) -> InstanceDetector:
    """A tiny random Mask2Former of transformers' own class, saved and loaded."""
    swin = SwinConfig(image_size=SIDE, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=2,
                      out_features=["stage1", "stage2", "stage3", "stage4"])  # fmt: skip
    config = Mask2FormerConfig(backbone_config=swin, feature_size=32, mask_feature_size=32, hidden_dim=32,
                               encoder_feedforward_dim=8, encoder_layers=1, decoder_layers=2, num_attention_heads=2,
                               dim_feedforward=8, num_queries=6, id2label={0: "car", 1: "dog"})  # fmt: skip
    path = tmp_path_factory.mktemp("detector") / "mask2former"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        Mask2FormerForUniversalSegmentation(config).save_pretrained(path)
    loaded = load_hub_detector(str(path))
    assert isinstance(loaded, InstanceDetector)
    return InstanceDetector(loaded.network, size=SIDE, threshold=0.0, batch_size=2)


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.rand(3, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_classes_and_scores_are_those_that_transformers_reads(detector, images, monkeypatch):
    found = detector(images)
    with torch.no_grad():
        answer = detector.network(pixel_values=prepare_detector_pixels(images, SIDE))
    whole = torch.nn.functional.interpolate  # transformers looks at masks of 384 pixels, we at those of the image
    monkeypatch.setattr(
        torch.nn.functional,
        "interpolate",
        lambda masks, size, **how: whole(masks, (SIDE, SIDE) if tuple(size) == (384, 384) else size, **how),
    )
    read = Mask2FormerImageProcessorPil().post_process_instance_segmentation(
        answer, threshold=0.0, target_sizes=[(SIDE, SIDE)] * 3, return_binary_maps=True
    )
    for ours, theirs in zip(found, read, strict=True):
        asked = sorted(theirs["segments_info"], key=lambda segment: -segment["score"])
        assert asked
        few = ours[: len(asked)]  # transformers keeps as many as there are queries
        assert [each.noun for each in few] == [["car", "dog"][segment["label_id"]] for segment in asked]
        assert [each.score for each in few] == pytest.approx([segment["score"] for segment in asked], abs=1e-5)
        masks = zip(theirs["segments_info"], theirs["segmentation"], strict=True)
        shown = {segment["id"]: mask for segment, mask in masks}
        for each, segment in zip(few, asked, strict=True):
            assert np.array_equal(each.mask, shown[segment["id"]].numpy().astype(bool))
            assert each.box == mask_box(each.mask)


def test_a_threshold_keeps_the_surest_and_any_batch_gives_the_same(detector, images):
    everything = detector(images)
    least = everything[0][1].score
    assert len(InstanceDetector(detector.network, SIDE, least)(images)[0]) == 1
    assert all(each.mask is None for each in InstanceDetector(detector.network, SIDE, 0.0, masks=False)(images)[0])
    one_by_one = InstanceDetector(detector.network, SIDE, 0.0, batch_size=1)(images)
    for ours, others in zip(everything, one_by_one, strict=True):
        assert [each.score for each in ours] == pytest.approx([each.score for each in others], abs=1e-5)


def test_labels_that_it_lacks_are_told(detector):
    assert missing_detector_labels(detector, ["dog", "boat"]) == ["boat"]


def test_the_box_of_a_mask_goes_around_its_pixels():
    mask = np.zeros((8, 10), dtype=bool)
    mask[2, 3] = mask[5, 6] = True
    assert mask_box(mask) == (3, 2, 7, 6)


def test_a_colour_is_read_of_the_objects_own_pixels():
    """A red object before a blue one: the crop is mostly blue, the mask is red alone."""
    image = torch.full((3, 8, 8), -1.0)
    image[2] = 1.0
    mask = np.zeros((8, 8), dtype=bool)
    mask[0, 0] = mask[7, 7] = mask[3:5, 3:5] = True
    image[:, torch.from_numpy(mask)] = torch.tensor([1.0, -1.0, -1.0])[:, None]

    def seen(images: torch.Tensor) -> torch.Tensor:
        """The mean pixel less grey."""
        return (images - on_grey(image, np.zeros((8, 8), dtype=bool))[:, :1, :1]).mean((2, 3))

    def told(captions: list[str]) -> torch.Tensor:
        of = {"red": (1.0, -1.0, -1.0), "blue": (-1.0, -1.0, 1.0)}
        return torch.tensor(
            [next((of[name] for name in of if f" {name}" in each), (0.0, 0.0, 0.0)) for each in captions]
        )

    read = ColourReader(Encoder("pixels", seen, told))
    assert read(image, [Detection("car", 0.9, (0, 0, 8, 8), "", mask)]) == ["red"]
    assert read(image, [Detection("car", 0.9, (0, 0, 8, 8), "")]) == ["blue"]
