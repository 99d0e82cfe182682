"""Numbers of the held-out curves: intervals over prompts, and which seed an output retrieves.

Values are ``[P, S]``: S seeds, noises of their own, under each of P prompts.
"""

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import ArrayLike
from torch import Tensor

from gad.metrics.statistics import Estimate

Statistic = Literal["mean", "median"]


def validation_retrieved_seeds(
    outputs: Float[Tensor, "P S *shape"], reference: Float[Tensor, "P S *shape"]
) -> Float[Tensor, "P S"]:
    r"""1 for each output whose nearest reference output (L2) under the same prompt is of its own seed, else 0.

    .. math:: r_{ps} = [\, s = \arg\min_{s'} \| x_{ps} - y_{ps'} \| \,]

    The mean is the seed retrieval accuracy in [0, 1]: higher is better, 1 / S is chance.
    """
    ours, theirs = outputs.flatten(2), reference.flatten(2)
    nearest = torch.stack([torch.cdist(own, other).argmin(1) for own, other in zip(ours, theirs, strict=True)])
    return (nearest == torch.arange(outputs.shape[1])).float()


def validation_estimate_over_prompts(
    values: ArrayLike | Tensor, statistic: Statistic = "mean", *, resamples: int = 1000, seed: int = 0
) -> Estimate:
    """Mean or median of all values ``[P, S]`` with a 95 % interval for other prompts and noises, of this very model.

    Percentile bootstrap that draws prompts with all their seeds (cluster bootstrap), so values of one prompt may depend
    on each other. With fewer than ten prompts it is somewhat too narrow. ``n`` counts prompts; a value that is not
    finite makes all NaN.
    """
    values = np.asarray(values, dtype=float)
    of, count, nothing = np.median if statistic == "median" else np.mean, len(values), float("nan")
    if not np.isfinite(values).all():
        return Estimate(nothing, nothing, nothing, count)
    drawn = np.random.default_rng(seed).integers(count, size=(resamples, count))
    low, high = np.quantile(of(values[drawn].reshape(resamples, -1), axis=1), (0.025, 0.975))
    return Estimate(float(of(values)), float(low), float(high), count)
