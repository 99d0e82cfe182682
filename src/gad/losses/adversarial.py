"""Latent adversarial losses on a discriminator's logits: LADD, Sauer et al. 2024. Binary cross-entropy with logits."""

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from gad.diffusion.shapes import PerSample

Logits = Float[Tensor, "B K"]
"""A discriminator's answers: one number per head and place; positive means "the teacher's, and of this prompt"."""


def generator_loss(fake: Logits) -> PerSample:
    """-log D of the student's samples, ``[B]``, mean over logits; falls as they are taken for the teacher's."""
    return F.softplus(-fake).mean(dim=1)


def discriminator_loss(real: Logits, fake: Logits, misaligned: Logits | None = None) -> PerSample:
    """-log D(real) - log(1 - D(fake)), ``[B]``; 2 log 2 for a discriminator that knows nothing.

    ``misaligned`` are real samples under another sample's prompt: they share the fakes' weight with the student's.
    """
    fakes = F.softplus(fake).mean(dim=1)
    if misaligned is not None:
        fakes = (fakes + F.softplus(misaligned).mean(dim=1)) / 2
    return F.softplus(-real).mean(dim=1) + fakes
