"""The student's answer at a node of its own chain, re-noised: where teacher and fake score are asked."""

from dataclasses import dataclass

import torch

from gad.diffusion.denoiser import Denoiser
from gad.diffusion.sampling import ddim_step, node_times, sample
from gad.diffusion.schedule import expand
from gad.diffusion.shapes import Latent, PerSample
from gad.distillation.batch import Batch
from gad.distillation.losses import importance_weight, renoise

EARLIEST = 0.02  # the re-noised times' lower end
MARGIN = 0.01  # how far they stay below the node


@dataclass(frozen=True)
class Renoised:
    """The student's answer at a node of its own chain and a re-noised state of it."""

    x0: Latent
    x_t: Latent
    t: PerSample
    importance: PerSample


def answer_renoised(
    student: Denoiser, batch: Batch, generator: torch.Generator, *, num_nodes: int, onward: bool
) -> Renoised:
    """The student's answer at a random node of its chain, with its gradient, and a random later state of it.

    ``onward`` (TDM): the answer is taken to the next node first and re-noised to a time between that and its own. Else
    (SiD): it is re-noised from clean data to any time before its own.
    """
    count, times = len(batch.noise), node_times(num_nodes, batch.noise.device).to(batch.noise)
    node, uniform, eps = batch.integers(num_nodes, generator), batch.uniform(generator), batch.normal(generator)
    with torch.no_grad():
        states = sample(student, batch.noise, batch.conditioning, num_steps=num_nodes, stop=num_nodes - 1)
    x_node, t_node = states[node, torch.arange(count, device=node.device)], times[node]
    t_mid = times[node + 1] if onward else torch.zeros_like(t_node)
    x0 = student(x_node, t_node, batch.conditioning)
    x_mid = ddim_step(student.schedule, x_node, x0, t_node, t_mid)
    low, high = t_mid.clamp(min=EARLIEST), t_node - MARGIN
    t = low + (high - low) * uniform
    a, b = renoise(student.schedule, t_mid, t)
    x_t = expand(a, eps) * x_mid + expand(b, eps) * eps
    mixed = (x_t - expand(student.schedule.alpha(t), eps) * x0) / expand(student.schedule.sigma(t), eps)
    return Renoised(x0, x_t, t, importance_weight(eps, mixed).detach())
