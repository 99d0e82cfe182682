"""Tiny local folders in the hub's format: teachers of every family, and what evaluators their pictures.

Networks are diffusers' and transformers' own classes with their defaults, small; nothing of the emoji teachers'
builder.
"""

import copy
import json
from pathlib import Path

import torch
from diffusers import (
    AutoencoderDC,
    AutoencoderKL,
    DDIMScheduler,
    DiffusionPipeline,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    PixArtAlphaPipeline,
    PixArtTransformer2DModel,
    SanaPipeline,
    SanaTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from tiny import tiny_clip
from transformers import (
    CLIPImageProcessor,
    CLIPTextModelWithProjection,
    T5EncoderModel,
    YolosConfig,
    YolosForObjectDetection,
)

from gad.config import Recipe, load_recipe
from gad.data.emoji.text_encoders import clip_text, gemma_text, t5_text
from gad.models.flux import pack_flux_latents
from gad.models.pipelines import pipeline_sample_options

CAPTION, NOUNS = "a red cat on a blue car", ("cat", "car")


def _sd():
    tokenizer, encoder = clip_text()
    unet = UNet2DConditionModel(
        sample_size=8, block_out_channels=(8, 16), norm_num_groups=4, layers_per_block=1, attention_head_dim=4,
        cross_attention_dim=96, down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"), use_linear_projection=True,
    )  # fmt: skip
    vae = AutoencoderKL(block_out_channels=(8,), norm_num_groups=4, latent_channels=4)
    scheduler = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False)
    return StableDiffusionPipeline(vae, encoder, tokenizer, unet, scheduler, None, None, requires_safety_checker=False)


def _pixart():
    tokenizer, encoder = t5_text()
    transformer = PixArtTransformer2DModel(
        sample_size=8, num_layers=2, num_attention_heads=2, attention_head_dim=8, cross_attention_dim=16,
        caption_channels=96, in_channels=4, out_channels=8,
    )  # fmt: skip
    vae = AutoencoderKL(block_out_channels=(8,), norm_num_groups=4, latent_channels=4)
    return PixArtAlphaPipeline(tokenizer, encoder, vae, transformer, DDIMScheduler())


def _sana():
    tokenizer, encoder = gemma_text()
    transformer = SanaTransformer2DModel(
        sample_size=8, in_channels=8, out_channels=8, num_layers=2, num_attention_heads=2, attention_head_dim=8,
        num_cross_attention_heads=2, cross_attention_head_dim=8, cross_attention_dim=16, caption_channels=96,
    )  # fmt: skip
    vae = AutoencoderDC(
        latent_channels=8, attention_head_dim=4, encoder_block_out_channels=(8, 8), decoder_block_out_channels=(8, 8),
        encoder_layers_per_block=(1, 1), decoder_layers_per_block=(1, 1), encoder_qkv_multiscales=((), ()),
        decoder_qkv_multiscales=((), ()), encoder_block_types="ResBlock", decoder_block_types="ResBlock",
    )  # fmt: skip
    return SanaPipeline(tokenizer, encoder, vae, transformer, FlowMatchEulerDiscreteScheduler())


def _projected_clip():
    """A CLIP text model whose pooled embedding is projected to 8 numbers."""
    tokenizer, plain = clip_text()
    plain.config.projection_dim = 8
    return tokenizer, CLIPTextModelWithProjection(plain.config)


def _wide_t5():
    """A T5 as wide as two CLIP models side by side: SD 3 pads theirs to its width."""
    tokenizer, plain = t5_text()
    plain.config.d_model *= 2
    return tokenizer, T5EncoderModel(plain.config)


def _sdxl():
    """Its autoencoder has eight pixels to a latent's side, which its network is told."""
    (tokenizer, encoder), (tokenizer_2, encoder_2) = clip_text(), _projected_clip()
    unet = UNet2DConditionModel(
        sample_size=8, block_out_channels=(8, 16), norm_num_groups=4, layers_per_block=1, attention_head_dim=(2, 4),
        transformer_layers_per_block=(1, 2), cross_attention_dim=192, use_linear_projection=True,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        addition_embed_type="text_time", addition_time_embed_dim=8, projection_class_embeddings_input_dim=6 * 8 + 8,
    )  # fmt: skip
    levels = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
    vae = AutoencoderKL(block_out_channels=(8,) * 4, norm_num_groups=4, latent_channels=4, **levels)
    scheduler = EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1, timestep_spacing="leading"
    )
    return StableDiffusionXLPipeline(vae, encoder, encoder_2, tokenizer, tokenizer_2, unet, scheduler)


def _sd3():
    readers = [_projected_clip(), _projected_clip(), _wide_t5()]
    parts = [part for tokenizer, encoder in readers for part in (encoder, tokenizer)]
    transformer = SD3Transformer2DModel(
        sample_size=8, patch_size=2, in_channels=4, out_channels=4, num_layers=2, num_attention_heads=2,
        attention_head_dim=8, joint_attention_dim=192, caption_projection_dim=16, pooled_projection_dim=16,
        pos_embed_max_size=8, qk_norm="rms_norm", dual_attention_layers=(0,),
    )  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=(8,), norm_num_groups=4, latent_channels=4, scaling_factor=1.5, shift_factor=0.06
    )
    return StableDiffusion3Pipeline(transformer, FlowMatchEulerDiscreteScheduler(shift=3.0), vae, *parts)


def flux(*, guidance_embeds: bool = True) -> FluxPipeline:
    """FLUX.1 dev in small, or without an input for its guidance schnell."""
    (tokenizer, encoder), (tokenizer_2, encoder_2) = clip_text(), t5_text()
    transformer = FluxTransformer2DModel(
        in_channels=16, num_layers=1, num_single_layers=2, attention_head_dim=8, num_attention_heads=2,
        joint_attention_dim=96, pooled_projection_dim=96, guidance_embeds=guidance_embeds, axes_dims_rope=(2, 2, 4),
    )  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=(8,), norm_num_groups=4, latent_channels=4, scaling_factor=0.4, shift_factor=0.1
    )
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=guidance_embeds)
    return FluxPipeline(scheduler, vae, encoder, tokenizer, encoder_2, tokenizer_2, transformer)


BUILDERS = {
    "sd21_ladd": _sd,
    "pixart_tdm": _pixart,
    "sana_sid": _sana,
    "sdxl_tdm": _sdxl,
    "sd35_sid": _sd3,
    "flux_ladd": flux,
}
SIDE = 8  # of the latents of all of them
SMALL = {
    "noise_pairs": {
        "num_pairs": 4,
        "teacher_steps": 4,
        "batch_size": 4,
        "shard_size": 4,
        "perturbation_scale": 0.1,
        "device": "cpu",
    },
    "student": {"num_steps": 2, "batch_size": 4, "accumulate": 1, "gad_batch_stride": 1, "gad_fraction": 1.0,
                "dtype": "float32", "log_every": 1, "device": "cpu", "shard": False},
    "sensitivity": {"num_noises": 2, "num_directions": 1, "directions": ["isotropic"], "device": "cpu"},
}  # fmt: skip


def save_teacher(name: str, folder: Path) -> None:
    """The folder that diffusers writes for an untrained teacher of that recipe's family."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BUILDERS[name]().save_pretrained(folder)


def stock_images(pipeline: DiffusionPipeline, noise: torch.Tensor, prompts: list[str], **options: object):
    """What a stock pipeline makes of noises of ``SIDE``, in [0, 1]."""
    pipeline.set_progress_bar_config(disable=True)
    latents = pack_flux_latents(noise) if isinstance(pipeline, FluxPipeline) else noise
    defaults = pipeline_sample_options(pipeline, SIDE * pipeline.vae_scale_factor)
    asked = defaults | options
    if isinstance(pipeline, SanaPipeline):  # it asks for multiples of 32 pixels, also where latents are given
        asked |= {"height": 1024, "width": 1024}
    return pipeline(list(prompts), latents=latents, output_type="pt", **asked).images


def save_judges(root: Path) -> None:
    """An untrained CLIP and an untrained detector that knows both nouns: ``root``/clip and /detector."""
    tokenizer, clip = tiny_clip()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        detector = YolosForObjectDetection(
            YolosConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
                        image_size=[32, 32], num_detection_tokens=4, id2label=dict(enumerate(NOUNS)))
        )  # fmt: skip
    for part in (clip, tokenizer, CLIPImageProcessor()):
        part.save_pretrained(root / "clip")
    detector.save_pretrained(root / "detector")


def sections(root: Path) -> dict[str, dict]:
    """What a small recipe says instead of the full one, of teacher, prompts, boxes and evaluators in ``root``."""
    prompts, clip = str(root / "prompts.txt"), str(root / "clip")
    changes = copy.deepcopy(SMALL)
    changes["teacher"] = {"pretrained": str(root / "hub"), "revision": None}
    changes["noise_pairs"]["prompts"] = {"file": prompts}
    changes["sensitivity"] |= {
        "seeds": {"num_seeds": 2, "train_prompts": 4, "val_prompts": 1, "test_prompts": 2},
        "fidelity": {"num_images": 16, "axes": 4, "scores": {"clip": {"model": clip}}},
        "negative_prompts": {"num_samples": 2, "negative_prompt": "blurry"},
        "inversion": {"num_samples": 2, "rounds": 2, "descent_steps": 2},
    }  # fmt: skip
    changes["control"] = {
        "clip": clip,
        "device": "cpu",
        "diversity": {"num_prompts": 2, "seeds_per_prompt": 3, "prompts": prompts},
        "noise_query": {"library_size": 12, "num_queries": 3, "attribute_prompts": 1, "prompts": prompts},
        "noise_optimisation": {"num_prompts": 2, "iterations": 1, "prompts": prompts},
        "layout": {"num_prompts": 2, "iterations": 2, "boxes_file": str(root / "boxes.json"),
                   "detector": str(root / "detector")},
        "composition": {"prompts": str(root / "geneval.jsonl"), "detector": str(root / "detector"),
                        "images_per_prompt": 2, "labels": {"automobile": "car"}},
    }  # fmt: skip
    return changes


def small_recipe(name: str, root: Path, **student: object) -> Recipe:
    """The full-scale recipe, small, with everything that it borrows written to ``root``; ``student`` changes that
    section."""
    save_teacher(name, root / "hub")
    save_judges(root)
    (root / "prompts.txt").write_text("\n".join(f"{CAPTION} {i}" for i in range(16)) + "\n\n")
    boxes = {"cat": [0, 0, 256, 512], "car": [256, 0, 512, 512]}
    entry = {"filename": f"{CAPTION.replace(' ', '_')}/0.png", "objects": boxes}
    (root / "boxes.json").write_text(json.dumps([entry, entry]))
    asked = [{"class": "cat", "count": 1}, {"class": "automobile", "count": 1, "color": "red"}]
    prompts = [{"tag": "color_attr", "prompt": CAPTION, "include": asked},
               {"tag": "single_object", "prompt": "a photo of a cat", "include": asked[:1]}]  # fmt: skip
    (root / "geneval.jsonl").write_text("\n".join(map(json.dumps, prompts)))
    recipe = load_recipe(name).model_dump()
    for section, changes in sections(root).items():
        recipe[section] |= changes
    if recipe["teacher"]["latent_side"]:  # SDXL's network and the paper's say their own
        recipe["teacher"]["latent_side"] = SIDE
    recipe["student"] |= student
    return Recipe.model_validate(recipe | {"external_models": []})
