"""The autoencoder of compact teachers: 64x64 pixels to 12x8x8 latents, sixteen tokens of 2x2 latents.

Its encoder is linear: the first twelve principal components of 8x8 patches, written into the weights of a diffusers
autoencoder. So latents are known before anything is trained, and only the decoder learns.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from gad.data.emoji import seeds
from gad.data.emoji.autoencoder import set_scaling_factor, vae_training_images

if TYPE_CHECKING:  # imported where they are used at run time, since that takes seconds
    from diffusers import AutoencoderKL

PATCH = 8  # pixels on a side of what one latent place sees
COMPONENTS = 12  # latent channels
WIDTH = 4 * COMPONENTS  # channels of every level: as many as a 4x4 patch has values
POSTERIOR_STD = 0.05  # noise on the latents that the decoder learns to bear
CONSTANT = 32.0  # beside each latent in its normalisation group, whose scale thereby hardly depends on the image
OFFSET = 12.0  # so far from 0 SiLU is the identity


def patch_principal_components(images: Float[Tensor, "B 3 H W"]) -> tuple[Float[Tensor, " D"], Float[Tensor, "K D"]]:
    """Mean and projection of 8x8 patches of D = 192 values, in the order of ``pixel_unshuffle``.

    With eigenvalues v_k and directions u_k of the patches' covariance, latent k is u_k · (patch - mean) / v_k^(1/4),
    all divided by their root mean square. That lies between the patches' own scales (15 to 1) and equal ones.
    """
    patches = F.pixel_unshuffle(images, PATCH).permute(0, 2, 3, 1).flatten(0, 2).double()
    mean = patches.mean(0)
    values, vectors = torch.linalg.eigh((patches - mean).T @ (patches - mean) / len(patches))
    values, vectors = values.flip(0)[:COMPONENTS], vectors.flip(1)[:, :COMPONENTS]
    vectors = vectors * vectors.sum(0).sign()  # eigenvectors have no sign of their own
    projection = vectors.T / values[:, None] ** 0.25 / values.sqrt().mean().sqrt()
    return mean.float(), projection.float()


def build_compact_vae() -> "AutoencoderKL":
    """A diffusers autoencoder with a factor of 8 and 12 latent channels, all of its weights still random."""
    from diffusers import AutoencoderKL  # here, since it takes seconds

    channels = (WIDTH,) * 4
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=channels,
        layers_per_block=0,
        latent_channels=COMPONENTS,
        norm_num_groups=COMPONENTS,
        sample_size=64,
        mid_block_add_attention=False,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )
    # SanaPipeline reads the spatial factor from the name that AutoencoderDC gives it
    vae.register_to_config(encoder_block_out_channels=channels)
    return vae


def _unshuffling_kernel(channels: int) -> Float[Tensor, "F C 3 3"]:
    """A stride-2 kernel that moves 2x2 places into F = 4C channels, as ``pixel_unshuffle(x, 2)``."""
    kernel = torch.zeros(4 * channels, channels, 3, 3)
    for channel in range(channels):
        for row in range(2):
            for column in range(2):
                kernel[4 * channel + 2 * row + column, channel, row, column] = 1
    return kernel


@torch.no_grad()
def set_compact_linear_encoder(
    vae: "AutoencoderKL", mean: Float[Tensor, " D"], projection: Float[Tensor, "K D"]
) -> None:
    """Make the encoder the projection: latent mean = projection · (patch - mean), standard deviation constant.

    Two strided convolutions gather the pixels of 4x4 patches, the third projects. Normalisation group k holds latent k,
    +-``CONSTANT``, which fix the group's scale, and an empty channel that undoes its mean; SiLU is passed where it is
    the identity.
    """
    encoder = vae.encoder.requires_grad_(False)
    for parameter in encoder.parameters():
        parameter.zero_()  # also the residual blocks, which so pass on what they get
    first, second, third = (block.downsamplers[0].conv for block in encoder.down_blocks[:3])
    encoder.conv_in.weight[range(3), range(3), 1, 1] = 1
    first.weight[:12, :3] = _unshuffling_kernel(3)
    second.weight[:, :12] = _unshuffling_kernel(12)
    # the last factor 2 of pixel_unshuffle(x, 8): columns of the projection are (colour, row, column) of the patch
    places = projection.view(-1, 3, 2, 2, 2, 2, 2, 2)  # colour, then a row's bits and a column's, the highest first
    taps = places.permute(0, 1, 4, 7, 3, 6, 2, 5).reshape(-1, WIDTH, 2, 2)
    slots = torch.arange(COMPONENTS) * (WIDTH // COMPONENTS)
    third.weight[slots, :, :2, :2] = taps
    third.bias[slots] = -projection @ mean
    third.bias[slots + 1], third.bias[slots + 2] = CONSTANT, -CONSTANT
    for channel in (slots, slots + 3):  # the group's mean is subtracted from the empty channel as from the latent
        encoder.conv_norm_out.weight[channel] = CONSTANT / 2**0.5
        encoder.conv_norm_out.bias[channel] = OFFSET
    encoder.conv_out.weight[range(COMPONENTS), slots, 1, 1] = 1
    encoder.conv_out.weight[range(COMPONENTS), slots + 3, 1, 1] = -1
    encoder.conv_out.bias[COMPONENTS:] = 2 * torch.tensor(POSTERIOR_STD).log()


def build_compact_projection(num_scenes: int = 2048) -> "AutoencoderKL":
    """The compact autoencoder with its encoder finished, in half precision's values, and its decoder still random."""
    vae = build_compact_vae()
    images = vae_training_images(range(num_scenes), seed=seeds.AUTOENCODER, layout="free")
    set_compact_linear_encoder(vae, *patch_principal_components(images))
    vae.encoder.half().float()  # as it is saved
    set_scaling_factor(vae)
    return vae


def train_compact_decoder(
    vae: "AutoencoderKL", *, num_steps: int, batch_size: int, lr: float, seed: int
) -> Iterator[dict]:
    """Yield step and loss, absolute + squared error, while the decoder learns; the encoder stays as it is."""
    optimizer = torch.optim.AdamW(vae.decoder.parameters(), lr=lr, betas=(0.9, 0.99), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=num_steps, pct_start=0.05)
    generator = torch.Generator().manual_seed(seed)
    vae.decoder.train()
    for step in range(num_steps):
        indices = range(step * batch_size, (step + 1) * batch_size)
        images = vae_training_images(indices, seed=seeds.AUTOENCODER, layout="free")
        with torch.no_grad():
            latents = vae.encode(images).latent_dist.sample(generator)
        error = vae.decode(latents).sample - images
        loss = error.abs().mean() + error.square().mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.decoder.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        yield {"step": step, "loss": loss.item()}
    vae.eval().requires_grad_(False)
