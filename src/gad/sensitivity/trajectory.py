r"""Cumulative trajectory deviation from the teacher along the shared noise (the paper's Table 4).

The paper gives neither norm nor accumulation; ours, at the times t_1 > t_2 > ... > t_m = 0 that it names, are

.. math:: D(t_k) = \sum_{j \le k} \tfrac1d \| x^S_{t_j} - x^T_{t_j} \|^2 .
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from gad.diffusion.conditioning import Conditioning
from gad.diffusion.denoiser import Denoiser
from gad.diffusion.sampling import ddim_step, node_times, sample, step_target
from gad.diffusion.schedule import Schedule
from gad.diffusion.shapes import Latent, Trajectory
from gad.models.external_sampler import WholeMap

TIMES = (0.75, 0.5, 0.25, 0.0)  # those of Table 4
NODE = 1e-6  # a float32 node may lie a hair beside its time


def trajectory_deviation(student: Trajectory, teacher: Trajectory, *, start_shared: bool = True) -> Tensor:
    """Deviation accumulated over the nodes so far, ``[S, B]``: one row per node; lower is better.

    At a node: the mean over elements of (x_t^S - x_t^T)²; the last row is the sum over all nodes down to t = 0. With
    ``start_shared`` the first state is the common noise and has no row.
    """
    error = (student - teacher).square().flatten(2).mean(2)
    return torch.cumsum(error[1:] if start_shared else error, dim=0)


def between(
    schedule: Schedule, states: Trajectory, at: Sequence[float], times: Sequence[float]
) -> Float[Tensor, "times B C H W"]:
    """A chain's states at ``times`` from its ``states`` at the falling times ``at``.

    At a node it is the chain's state; before the first node it is the noise. Between two nodes it is the point on the
    way that leads from one to the other: the x0 and noise that both imply, mixed for that time, x_s = alpha_s x0 +
    sigma_s eps. For a DDIM step or an Euler step along a flow that is the way the step takes. So a one-step student,
    whose only answer is x0 from z, has a path too: from z straight (flow) or on the arc (diffusion) to x0. Raises
    ValueError for a time after the last node.
    """
    found = []
    for time in times:
        if time < at[-1] - NODE:
            raise ValueError(f"the chain ends at t = {at[-1]:g}, before t = {time:g}")
        k = next(k for k, node in enumerate(at) if node <= time + NODE)
        if k == 0 or abs(at[k] - time) <= NODE:
            found.append(states[k])
        else:
            x_t, x_next = states[k - 1], states[k]
            t, t_next, t_wanted = (x_t.new_full((len(x_t),), value) for value in (at[k - 1], at[k], time))
            x0 = step_target(schedule, x_t, x_next, t, t_next)
            found.append(ddim_step(schedule, x_t, x0, t, t_wanted))
    return torch.stack(found)


@torch.no_grad()
def states_at(
    denoise: Denoiser, noise: Latent, conditioning: Conditioning | None, *, num_steps: int, times: Sequence[float]
) -> Trajectory:
    """States of the chain of ``num_steps`` steps at ``times``, ``[len(times), B, C, H, W]``; see :func:`between`.

    A model from elsewhere is asked for its own chain, whatever ``num_steps`` says.
    """
    if isinstance(denoise, WholeMap):
        schedule, states, at = denoise.path(noise, conditioning)
        return between(schedule, states, at, times)
    states = sample(denoise, noise, conditioning, num_steps=num_steps)
    return between(denoise.schedule, states, node_times(num_steps).tolist(), times)
