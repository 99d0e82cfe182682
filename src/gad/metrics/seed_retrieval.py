"""Seed retrieval: whether a student's output says which seed it was made from."""

import torch
from jaxtyping import Float
from torch import Tensor


def seed_retrieval(outputs: Float[Tensor, "P S ..."], reference: Float[Tensor, "P S ..."]) -> Float[Tensor, "P S"]:
    r"""1 for each output whose nearest reference output (L2) under the same prompt is of its own seed, else 0.

    .. math:: r_{ps} = [\, s = \arg\min_{s'} \| x_{ps} - y_{ps'} \| \,]

    The mean is the seed retrieval accuracy in [0, 1]: higher is better, 1 / S is chance.
    """
    ours, theirs = outputs.flatten(2), reference.flatten(2)
    nearest = torch.stack([torch.cdist(own, other).argmin(1) for own, other in zip(ours, theirs, strict=True)])
    return (nearest == torch.arange(outputs.shape[1])).float()
