r"""Cumulative trajectory deviation from the teacher along the shared noise (the paper's Table 4).

The paper gives neither norm nor accumulation; ours, at the times t_1 > t_2 > ... > t_m = 0 that it names, are

.. math:: D(t_k) = \sum_{j \le k} \tfrac1d \| x^S_{t_j} - x^T_{t_j} \|^2 .
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from gad.models.conditioning import Conditioning
from gad.models.denoiser import Denoiser
from gad.sampling import ddim_step, node_times
from gad.shapes import Latent, Trajectory

TIMES = (0.75, 0.5, 0.25, 0.0)  # those of Table 4


def trajectory_deviation(student: Trajectory, teacher: Trajectory, *, start_shared: bool = True) -> Tensor:
    """Deviation accumulated over the nodes so far, ``[S, B]``: one row per node; lower is better.

    At a node: the mean over elements of (x_t^S - x_t^T)²; the last row is the sum over all nodes down to t = 0. With
    ``start_shared`` the first state is the common noise and has no row.
    """
    error = (student - teacher).square().flatten(2).mean(2)
    return torch.cumsum(error[1:] if start_shared else error, dim=0)


@torch.no_grad()
def states_at(
    denoise: Denoiser, noise: Latent, conditioning: Conditioning | None, *, num_steps: int, times: Sequence[float]
) -> Trajectory:
    """States of the chain of ``num_steps`` steps at falling ``times`` below 1, ``[len(times), B, C, H, W]``.

    At a node it is the sampler's state. Between two nodes it is the point on the way that the step takes: x0 and the
    noise it implies, mixed for that time, x_s = alpha_s x0 + sigma_s eps. So a one-step student, whose only answer is
    x0 from z, has a path too: from z straight (flow) or on the arc (diffusion) to x0.
    """
    nodes = node_times(num_steps).to(noise)
    x_t, states, wanted = noise, [], list(times)
    for t, t_next in zip(nodes[:-1].unbind(), nodes[1:].unbind(), strict=True):
        start = t.expand(len(noise))
        x0 = denoise(x_t, start, conditioning)
        while wanted and wanted[0] >= t_next.item() - 1e-6:  # a float32 node may lie a hair above its time
            stop = torch.full_like(start, wanted.pop(0))
            states.append(ddim_step(denoise.schedule, x_t, x0, start, stop))
        x_t = ddim_step(denoise.schedule, x_t, x0, start, t_next.expand(len(noise)))
    return torch.stack(states)
