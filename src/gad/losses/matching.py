"""Output matching: regression to the teacher's stored answers. Eq. (2)."""

from typing import Literal

from torch.nn import functional as F

from gad.diffusion.shapes import Latent, PerSample

Kind = Literal["mse", "smooth_l1"]


def matching_loss(x0: Latent, target: Latent, *, kind: Kind = "mse") -> PerSample:
    """Distance of the student's x0 from its target, ``[B]``, mean over elements; 0 when equal, lower is better."""
    loss = F.mse_loss if kind == "mse" else F.smooth_l1_loss
    return loss(x0, target.detach(), reduction="none").flatten(1).mean(dim=1)
