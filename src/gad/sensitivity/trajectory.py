"""Cumulative trajectory deviation from the teacher (the paper's Table 4)."""

import torch
from torch import Tensor

from gad.shapes import Trajectory


def trajectory_deviation(student: Trajectory, teacher: Trajectory) -> Tensor:
    """Deviation accumulated over the nodes so far, ``[S, B]``: one row per node after the first; lower is better.

    At a node: the mean over elements of (x_t^S - x_t^T)²; the last row is the sum over all nodes down to t = 0. Both
    trajectories start from the same noise and stop at the same nodes.
    """
    error = (student - teacher).square().flatten(2).mean(2)[1:]
    return torch.cumsum(error, dim=0)
