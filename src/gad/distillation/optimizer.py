"""The optimiser of a student or an auxiliary network."""

import torch
from torch import nn

from gad.config import StudentConfig


def make_student_optimizer(
    parameters: list[nn.Parameter], config: StudentConfig, *, lr: float, betas: tuple[float, float]
):
    """AdamW without decay: fused on a GPU, and elsewhere where the recipe says so, or with states of 8 bits, for which
    bitsandbytes has to be installed."""
    if config.optimizer == "adamw_8bit":
        try:
            from bitsandbytes.optim import AdamW8bit
        except ImportError as error:
            raise ValueError("optimizer adamw_8bit needs bitsandbytes; run: pip install bitsandbytes") from error
        return AdamW8bit(parameters, lr=lr, betas=betas, weight_decay=0.0)
    fused = True if parameters[0].device.type == "cuda" or config.optimizer == "adamw_fused" else None
    return torch.optim.AdamW(parameters, lr=lr, betas=betas, weight_decay=0.0, fused=fused)
