"""The autoencoder that the three emoji teachers share: 64x64 pixels to 4x16x16 latents."""

import copy
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gad.data.emoji import seeds
from gad.data.emoji.scenes import Accept, Layout, make_scene, render_scene
from gad.runtime.atomic import atomic_write_path

if TYPE_CHECKING:  # imported where they are used at run time, since that takes seconds
    from diffusers import AutoencoderKL

BLOCK_OUT_CHANNELS = (24, 48, 64)
KL_WEIGHT = 1e-4  # keeps the latents near unit scale without blurring the images


def vae_training_images(
    indices: Iterable[int], *, seed: int, layout: Layout = "grid", accept: Accept | None = None
) -> Tensor:
    """Rendered scenes as a batch ``[B, 3, 64, 64]`` in [-1, 1], float32."""
    images = np.stack([render_scene(make_scene(int(i), seed=seed, layout=layout, accept=accept)) for i in indices])
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1


def build_vae() -> "AutoencoderKL":
    """A small diffusers autoencoder with a factor of 4 and 4 latent channels."""
    from diffusers import AutoencoderKL  # here, since it takes seconds

    levels = len(BLOCK_OUT_CHANNELS)
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=BLOCK_OUT_CHANNELS,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=64,
        mid_block_add_attention=False,
    )
    # SanaPipeline reads the spatial factor from the name that AutoencoderDC gives it
    vae.register_to_config(encoder_block_out_channels=BLOCK_OUT_CHANNELS)
    return vae


def train_vae(vae: "AutoencoderKL", *, num_steps: int, batch_size: int, lr: float, seed: int) -> Iterator[dict]:
    """Yield the loss of every training step: absolute + squared error + ``KL_WEIGHT`` · KL per latent element."""
    optimizer = torch.optim.AdamW(vae.parameters(), lr=lr, betas=(0.9, 0.99), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=num_steps, pct_start=0.05)
    generator = torch.Generator().manual_seed(seed)
    vae.train()
    for step in range(num_steps):
        images = vae_training_images(
            range(step * batch_size, (step + 1) * batch_size), seed=seeds.AUTOENCODER, layout="free"
        )
        posterior = vae.encode(images).latent_dist
        error = vae.decode(posterior.sample(generator)).sample - images
        kl = posterior.kl().mean() / posterior.mean[0].numel()
        loss = error.abs().mean() + error.square().mean() + KL_WEIGHT * kl
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        yield {"step": step, "loss": loss.item(), "kl": kl.item()}
    vae.eval().requires_grad_(False)


@torch.no_grad()
def set_scaling_factor(vae: "AutoencoderKL", *, num_scenes: int = 256) -> None:
    """Store 1 / (root mean square of the latents), so that scaled latents have unit scale."""
    latents = vae.encode(vae_training_images(range(num_scenes), seed=seeds.AUTOENCODER, layout="free")).latent_dist.mean
    vae.register_to_config(scaling_factor=round(1 / latents.square().mean().sqrt().item(), 5))


@torch.no_grad()
def reconstruction_psnr(vae: "AutoencoderKL", images: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of the reconstruction per image, ``[B]`` in dB (higher is better), for [-1, 1]."""
    recon = vae.decode(vae.encode(images).latent_dist.mean).sample.clamp(-1, 1)
    return 10 * torch.log10(4 / F.mse_loss(recon, images, reduction="none").flatten(1).mean(1))


def save_vae(vae: "AutoencoderKL", folder: Path) -> None:
    """Write half-precision weights as a diffusers folder, complete or not at all; ``vae`` itself is not changed."""
    with atomic_write_path(folder) as partial:
        copy.deepcopy(vae).half().save_pretrained(partial)
