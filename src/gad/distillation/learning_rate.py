"""The learning rate over a training, as diffusers' ``get_cosine_schedule_with_warmup``, whose import takes seconds."""

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def cosine_with_warmup(optimizer: Optimizer, warmup: int, num_steps: int) -> LambdaLR:
    """From 0 linearly to the optimiser's rate in ``warmup`` steps, then along half a cosine to 0 at ``num_steps``."""

    def factor(step: int) -> float:
        if step < warmup:
            return step / max(1, warmup)
        progress = (step - warmup) / max(1, num_steps - warmup)
        return max(0.0, 0.5 * (1.0 + math.cos(math.pi * progress)))

    return LambdaLR(optimizer, factor)
