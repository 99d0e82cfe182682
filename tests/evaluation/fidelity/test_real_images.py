"""Real images beside models' images."""

import pytest
import torch
from PIL import Image

from gad.config import FidelityConfig
from gad.evaluation.fidelity.real_images import real_features


def config(folder) -> FidelityConfig:
    return FidelityConfig(num_images=16, axes=8, data=str(folder))


def test_real_images_come_from_a_folder_when_the_recipe_names_one(tmp_path):
    for name, colour in (("a.png", (255, 0, 0)), ("b.png", (0, 0, 255))):
        wide = Image.new("RGB", (96, 32), (0, 255, 0))
        wide.paste(colour, (32, 0, 64, 32))
        wide.save(tmp_path / name)
    seen = real_features(config(tmp_path), "prompts", lambda image: image.flatten(1), 16)
    red, blue = seen.view(2, 3, 16, 16)
    assert torch.equal(red[0], torch.ones(16, 16)) and torch.equal(blue[2], torch.ones(16, 16))
    assert red[1].max() == -1
    with pytest.raises(ValueError, match="there are no images in .*empty"):
        real_features(config(tmp_path / "empty"), "prompts", lambda image: image, 16)
