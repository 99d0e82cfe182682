"""Small teachers as genuine diffusers pipelines, untrained: one per family, all on the same autoencoder."""

from typing import TYPE_CHECKING

import torch

from gad.data.emoji.text_encoders import WIDTH, clip_text, gemma_text, t5_text

if TYPE_CHECKING:  # imported where they are used at run time, since that takes seconds
    from diffusers import (
        AutoencoderKL,
        DDIMScheduler,
        DiffusionPipeline,
        PixArtAlphaPipeline,
        SanaPipeline,
        StableDiffusionPipeline,
    )

HIDDEN = {16: 192, 8: 128}  # width of the two transformers, by the side of the latents
UNET_CHANNELS = {16: (64, 128), 8: (48, 96)}  # of the UNet's two levels
LAYERS = 6


def backbone_latent_size(vae: "AutoencoderKL") -> int:
    """The side of the latents of a 64x64 image."""
    return vae.config.sample_size // 2 ** (len(vae.config.block_out_channels) - 1)


def _diffusion(prediction_type: str, **options: bool) -> "DDIMScheduler":
    from diffusers import DDIMScheduler  # here, since it takes seconds

    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type=prediction_type,
        timestep_spacing="trailing",
        clip_sample=False,
        steps_offset=1,
        **options,
    )


def _unet_pipeline(vae: "AutoencoderKL") -> "StableDiffusionPipeline":
    """SD's class: a UNet with v prediction and zero terminal signal-to-noise ratio, CLIP text."""
    from diffusers import StableDiffusionPipeline, UNet2DConditionModel  # here, since it takes seconds

    tokenizer, text_encoder = clip_text()
    unet = UNet2DConditionModel(
        sample_size=backbone_latent_size(vae),
        in_channels=vae.config.latent_channels,
        out_channels=vae.config.latent_channels,
        block_out_channels=UNET_CHANNELS[backbone_latent_size(vae)],
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=WIDTH,
        attention_head_dim=4,  # diffusers reads this as the number of heads
        norm_num_groups=16,
    )
    return StableDiffusionPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=_diffusion("v_prediction", rescale_betas_zero_snr=True),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _dit_pipeline(vae: "AutoencoderKL") -> "PixArtAlphaPipeline":
    """PixArt's class: a diffusion transformer with noise prediction, T5 text."""
    from diffusers import PixArtAlphaPipeline, PixArtTransformer2DModel  # here, since it takes seconds

    tokenizer, text_encoder = t5_text()
    width = HIDDEN[backbone_latent_size(vae)]
    transformer = PixArtTransformer2DModel(
        sample_size=backbone_latent_size(vae),
        in_channels=vae.config.latent_channels,
        out_channels=vae.config.latent_channels,
        patch_size=2,
        num_attention_heads=4,
        attention_head_dim=width // 4,
        cross_attention_dim=width,
        num_layers=LAYERS,
        caption_channels=WIDTH,
        norm_type="ada_norm_single",
        use_additional_conditions=False,
    )
    return PixArtAlphaPipeline(tokenizer, text_encoder, vae, transformer, _diffusion("epsilon"))


def _flow_pipeline(vae: "AutoencoderKL") -> "SanaPipeline":
    """SANA's class: a linear-attention transformer with flow prediction, Gemma-2 text."""
    from diffusers import (  # here, since it takes seconds
        FlowMatchEulerDiscreteScheduler,
        SanaPipeline,
        SanaTransformer2DModel,
    )

    tokenizer, text_encoder = gemma_text()
    width = HIDDEN[backbone_latent_size(vae)]
    transformer = SanaTransformer2DModel(
        sample_size=backbone_latent_size(vae),
        in_channels=vae.config.latent_channels,
        out_channels=vae.config.latent_channels,
        patch_size=2,
        num_attention_heads=width // 32,
        attention_head_dim=32,
        num_cross_attention_heads=4,
        cross_attention_head_dim=width // 4,
        cross_attention_dim=width,
        num_layers=LAYERS,
        caption_channels=WIDTH,
        mlp_ratio=2.5,
        interpolation_scale=1,  # positions; without it there are none
    )
    return SanaPipeline(tokenizer, text_encoder, vae, transformer, FlowMatchEulerDiscreteScheduler(shift=1.0))


BUILDERS = {"unet": _unet_pipeline, "dit": _dit_pipeline, "flow": _flow_pipeline}


def build_backbone(backbone: str, vae: "AutoencoderKL", *, seed: int) -> "DiffusionPipeline":
    """An untrained teacher; its weights are drawn from ``seed`` without touching the global random state."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return BUILDERS[backbone](vae)
