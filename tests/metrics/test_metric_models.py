"""Metric models are refused in one line, by their loader and by the doctor, unless all of their weights are there."""

import hub_folders
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import ViTConfig, ViTForImageClassification

from gad.evaluation.sensitivity.seed_classifiers import seed_classifier_network
from gad.metrics.clip_encoder import clip_encoder_network, load_clip_encoder
from gad.metrics.detector_loading import load_hub_detector, object_detector_network
from gad.metrics.image_features import image_feature_network, load_features

FIRST = {"clip": "logit_scale", "detector": "class_labels_classifier.layers.0.bias"}
LOADERS = {"clip": (load_clip_encoder, clip_encoder_network), "detector": (load_hub_detector, object_detector_network)}


@pytest.fixture
def root(tmp_path):
    hub_folders.save_judges(tmp_path)
    config = ViTConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=32,
                       patch_size=8, num_labels=3)  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        ViTForImageClassification(config).save_pretrained(tmp_path / "vit")
    return tmp_path


def reweight(folder, change):
    path = folder / "model.safetensors"
    save_file(change(load_file(path)), path, metadata={"format": "pt"})


@pytest.mark.parametrize("name", FIRST)
@pytest.mark.parametrize("kind", ["lacks", "compiled", "more"])
def test_a_metric_model_that_is_not_whole_is_refused_with_and_without_its_weights(root, name, kind):
    first = FIRST[name]
    changes = {
        "lacks": (lambda held: {k: v for k, v in held.items() if k != first}, f"its weights lack {first}"),
        "compiled": (lambda held: {f"_orig_mod.{k}": v for k, v in held.items()}, "begin with _orig_mod."),
        "more": (lambda held: held | {"more.weight": torch.ones(1)}, "hold what .* has not: more.weight"),
    }
    change, message = changes[kind]
    reweight(root / name, change)
    load, network = LOADERS[name]
    for call in (lambda: load(str(root / name)), lambda: network(str(root / name), shapes_only=True)):
        with pytest.raises(ValueError, match=message) as error:
            call()
        assert "\n" not in str(error.value) and str(root / name) in str(error.value)


def test_features_of_a_checkpoint_without_a_pooler_are_no_random_numbers(root):
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        found.append(load_features(str(root / "vit"))(images))
    assert torch.equal(*found) and found[0].shape == (2, 16)
    assert not image_feature_network(str(root / "vit"), shapes_only=True)[1]


def test_features_want_all_but_the_pooler(root):
    reweight(root / "vit", lambda held: {k: v for k, v in held.items() if "embeddings.cls_token" not in k})
    for shapes_only in (False, True):
        with pytest.raises(ValueError, match="metric model .*vit: its weights lack embeddings.cls_token") as error:
            image_feature_network(str(root / "vit"), shapes_only=shapes_only)
        assert "\n" not in str(error.value)


def test_a_classifier_gets_a_head_of_its_own_and_wants_all_else(root):
    network = seed_classifier_network(str(root / "vit"), num_labels=7)
    assert network(pixel_values=torch.zeros(1, 3, 32, 32)).logits.shape == (1, 7)
    assert seed_classifier_network(str(root / "vit"), num_labels=7, shapes_only=True).classifier.weight.is_meta
    reweight(root / "vit", lambda held: {k: v for k, v in held.items() if not k.startswith("classifier")})
    assert seed_classifier_network(str(root / "vit"), num_labels=7).classifier.out_features == 7
    reweight(root / "vit", lambda held: {k: v for k, v in held.items() if not k.endswith("cls_token")})
    with pytest.raises(ValueError, match="its weights lack vit.embeddings.cls_token"):
        seed_classifier_network(str(root / "vit"), num_labels=7)


def test_a_classifier_without_a_linear_head_of_that_name_is_refused(root):
    with pytest.raises(ValueError, match="no metric model|metric model") as error:
        seed_classifier_network(str(root / "clip"), num_labels=7)
    assert "\n" not in str(error.value)
