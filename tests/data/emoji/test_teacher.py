"""A recipe may name a pipeline that lies elsewhere: it is used in place and pinned by its hash."""

import shutil

import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

from gad.config import load_recipe
from gad.data.emoji.teacher import make_teacher
from gad.models.model import load_model
from gad.runtime import paths


def point_to(source, folder):
    section = load_recipe("emoji_quick").teacher.model_copy(update={"pretrained": str(source)})
    assert list(make_teacher(section, folder, folder / "no_vae")) == []
    return folder


def test_a_pointer_answers_like_the_folder_it_points_to(saved, conditioning, noise, tmp_path):
    pointed, direct = load_model(point_to(saved, tmp_path / "teacher")), load_model(saved)
    t = torch.full((len(noise),), 0.7)
    assert torch.equal(pointed.denoiser(noise, t, conditioning), direct.denoiser(noise, t, conditioning))


def test_a_relative_source_is_seen_from_the_projects_root(saved, tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "ROOT", saved.parent)
    folder = point_to(saved.name, tmp_path / "teacher")
    assert load_model(folder).latent_shape == load_model(saved).latent_shape


def test_a_changed_source_is_refused_in_one_line(saved, tmp_path):
    source = shutil.copytree(saved, tmp_path / "source")
    folder = point_to(source, tmp_path / "teacher")
    (source / "model_index.json").write_text((source / "model_index.json").read_text() + "\n")
    with pytest.raises(ValueError, match="hash differs") as error:
        load_model(folder)
    assert "\n" not in str(error.value)


def test_a_class_that_gad_cannot_use_is_refused_before_anything_is_written(tmp_path):
    unet = UNet2DModel(sample_size=8, block_out_channels=(8,), down_block_types=("DownBlock2D",),
                       up_block_types=("UpBlock2D",), norm_num_groups=4)  # fmt: skip
    DDPMPipeline(unet, DDPMScheduler()).save_pretrained(tmp_path / "source")
    with pytest.raises(ValueError, match="DDPMPipeline is not a pipeline class that gad can use"):
        point_to(tmp_path / "source", tmp_path / "teacher")
    assert not (tmp_path / "teacher").exists()


def test_a_source_that_is_not_there_is_refused_in_one_line(tmp_path):
    with pytest.raises(ValueError, match="there is no diffusers pipeline at") as error:
        point_to(tmp_path / "nowhere", tmp_path / "teacher")
    assert "\n" not in str(error.value)
