"""Real images beside models' images."""

import pytest
import torch
from PIL import Image

from gad.config import FidelityConfig
from gad.evaluation.fidelity.real_images import real_features


def config(folder, axes: int = 1) -> FidelityConfig:
    return FidelityConfig(num_images=16, axes=axes, data=str(folder))


def test_real_images_come_from_a_folder_when_the_recipe_names_one(tmp_path):
    for name, colour in (("a.png", (255, 0, 0)), ("b.png", (0, 0, 255))):
        wide = Image.new("RGB", (96, 32), (0, 255, 0))
        wide.paste(colour, (32, 0, 64, 32))
        wide.save(tmp_path / name)
    seen = real_features(config(tmp_path), "prompts", lambda image: image.flatten(1), 16)
    red, blue = seen.view(2, 3, 16, 16)
    assert torch.equal(red[0], torch.ones(16, 16)) and torch.equal(blue[2], torch.ones(16, 16))
    assert red[1].max() == -1


def refusal(folder, axes: int = 1) -> str:
    """The one line by which a folder of real images is refused."""
    with pytest.raises(ValueError) as caught:
        real_features(config(folder, axes), "prompts", lambda image: image, 16)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_folder_with_too_few_images_is_refused(tmp_path):
    assert "empty holds 0 images, 2 are needed on 1 axes; add some" in refusal(tmp_path / "empty")
    Image.new("RGB", (16, 16)).save(tmp_path / "a.png")
    assert "holds 1 images, 16 are needed on 8 axes" in refusal(tmp_path, axes=8)


@pytest.mark.parametrize("cut", [0, 40, -400])
def test_a_broken_image_is_named(tmp_path, cut):
    for name in ("a.png", "b.png"):
        Image.effect_noise((64, 64), 50).save(tmp_path / name)
    (tmp_path / "b.png").write_bytes((tmp_path / "b.png").read_bytes()[:cut])
    assert refusal(tmp_path).startswith(f"cannot read the real image {tmp_path / 'b.png'}: ")


def test_an_image_of_sixteen_bits_is_refused_where_it_would_turn_white(tmp_path):
    for name in ("a.png", "b.png"):
        Image.new("I;16", (16, 16), 2000).save(tmp_path / name)
    assert "a.png: mode I;16 has no 8 bits a channel; convert it" in refusal(tmp_path)


def test_images_in_a_linked_folder_are_found(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "data").mkdir()
    for name in ("a.png", "b.png"):
        Image.new("RGB", (16, 16)).save(tmp_path / "disk" / name)
    (tmp_path / "data" / "set").symlink_to(tmp_path / "disk")
    assert len(real_features(config(tmp_path / "data"), "prompts", lambda image: image, 16)) == 2
