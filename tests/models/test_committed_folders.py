"""Every folder of models in the repository loads with its own library alone, no option named, and runs."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, DiffusionPipeline
from transformers import CLIPModel, CLIPTokenizer

from gad.data.emoji.backbones import build_backbone
from gad.models.pipeline_loading import load_pipeline
from gad.models.pipelines import pipeline_family
from gad.models.saved_folders import save_diffusers_pipeline
from gad.runtime.files import read_json
from gad.runtime.paths import DATA, EMOJI

TEACHERS = sorted(path.parent for path in DATA.glob("*/teacher/model_index.json"))


def draws(pipeline: DiffusionPipeline) -> np.ndarray:
    pipeline.set_progress_bar_config(disable=True)
    options = dict(
        pipeline_family(pipeline).sample_options, num_inference_steps=2, output_type="np", height=64, width=64
    )
    return pipeline("an apple", generator=torch.Generator().manual_seed(0), **options).images


def dtypes(pipeline: DiffusionPipeline) -> set[torch.dtype]:
    return {tensor.dtype for part in pipeline.components.values() if isinstance(part, torch.nn.Module)
            for tensor in part.parameters()}  # fmt: skip


def test_the_three_teachers_are_there():
    assert {"emoji_unet", "emoji_dit", "emoji_flow"} <= {path.parent.name for path in TEACHERS}


@pytest.mark.parametrize("folder", TEACHERS, ids=lambda path: path.parent.name)
def test_a_committed_teacher_draws_as_stock_diffusers_loads_it(folder: Path):
    stock = DiffusionPipeline.from_pretrained(folder)
    assert dtypes(stock) == {torch.float32}
    assert np.isfinite(draws(stock)).all() and np.array_equal(draws(stock), draws(load_pipeline(folder)))


def test_the_committed_autoencoder_and_clip_run_as_stock_loading_brings_them_back():
    vae = AutoencoderKL.from_pretrained(EMOJI / "vae")
    assert vae.decode(torch.zeros(1, 4, 16, 16)).sample.isfinite().all()
    folder = EMOJI / "evaluators" / "clip"
    clip, tokenizer = CLIPModel.from_pretrained(folder), CLIPTokenizer.from_pretrained(folder)
    tokens = tokenizer(["an apple"], return_tensors="pt", padding=True)
    output = clip(pixel_values=torch.zeros(1, 3, 64, 64), **tokens)
    assert output.logits_per_image.isfinite().all()


@pytest.mark.parametrize("backbone", ["unet", "dit", "flow"])
def test_a_pipeline_saved_in_half_precision_draws_as_stock_diffusers_loads_it(vae, backbone, tmp_path):
    save_diffusers_pipeline(build_backbone(backbone, copy.deepcopy(vae), seed=0).to(torch.float16), tmp_path / "half")
    assert read_json(tmp_path / "half" / "text_encoder" / "config.json")["dtype"] == "float32"
    assert (
        tmp_path / "half" / "vae" / "diffusion_pytorch_model.safetensors"
    ).stat().st_size < 2_000_000  # 3 MB in float32
    stock = DiffusionPipeline.from_pretrained(tmp_path / "half")
    assert dtypes(stock) == {torch.float32} and np.isfinite(draws(stock)).all()
