"""A step of trajectory distribution matching a second time, from its equations: one sample after another.

A network is a function ``output(x, timestep, prompt)`` on a single sample ``[1, C, H, W]``; the empty prompt is None.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from reference.distillation_losses import distribution_matching
from torch import Tensor

Network = Callable[[Tensor, Tensor, int | None], Tensor]
NODES = [1.0, 0.75, 0.5, 0.25, 0.0]


@dataclass(frozen=True)
class Process:
    """x_t = alpha_t x0 + sigma_t eps on a table of alpha_t² (network says eps or v), or rectified flow without one."""

    predicts: str
    table: list[float] | None

    def index(self, t: float) -> int:
        return max(1, round(t * len(self.table))) - 1

    def alpha(self, t: float) -> float:
        if self.table is None:
            return 1 - t
        return 1.0 if t == 0 else math.sqrt(self.table[self.index(t)])

    def sigma(self, t: float) -> float:
        if self.table is None:
            return t
        return 0.0 if t == 0 else math.sqrt(1 - self.table[self.index(t)])

    def timestep(self, t: float) -> Tensor:
        return torch.tensor([1000 * t], dtype=torch.float64) if self.table is None else torch.tensor([self.index(t)])

    def x0(self, network: Network, x: Tensor, t: float, prompt: int | None) -> Tensor:
        said = network(x, self.timestep(t), prompt)
        if self.predicts == "eps":
            return (x - self.sigma(t) * said) / self.alpha(t)
        return self.alpha(t) * x - self.sigma(t) * said if self.predicts == "v" else x - t * said

    def onward(self, x: Tensor, x0: Tensor, t: float, t_next: float) -> tuple[Tensor, Tensor]:
        """The state at the next student step, and the noise that the step thinks it holds."""
        eps = (x - self.alpha(t) * x0) / self.sigma(t)
        return self.alpha(t_next) * x0 + self.sigma(t_next) * eps, eps


def mean(values) -> float:
    values = [value.item() for value in values.flatten()]
    return sum(values) / len(values)


@dataclass(frozen=True)
class Step:
    """One sample's draws: its noise z, its prompt, the number of its student step, a uniform number, and fresh unit
    noise.
    """

    process: Process
    z: Tensor
    prompt: int
    node: int
    uniform: float
    fresh: Tensor

    def renoised(self, student: Network) -> tuple[Tensor, Tensor, float, float]:
        """The student's x0 at its student step, with its gradient; a re-noised state, its time, and its importance."""
        process, x = self.process, self.z
        for k in range(self.node):  # the student's own chain
            with torch.no_grad():
                x, _ = process.onward(x, process.x0(student, x, NODES[k], self.prompt), NODES[k], NODES[k + 1])
        t_student, mid = NODES[self.node], NODES[self.node + 1]
        x0 = process.x0(student, x, t_student, self.prompt)
        x_mid, eps = process.onward(x, x0.detach(), t_student, mid)
        earliest = max(0.02, mid)
        t = earliest + (t_student - 0.01 - earliest) * self.uniform
        a = process.alpha(t) / process.alpha(mid)
        b = math.sqrt(process.sigma(t) ** 2 - a**2 * process.sigma(mid) ** 2)
        mixed = (a * process.sigma(mid) * eps + b * self.fresh) / process.sigma(t)  # all noise in x_t, as one
        importance = math.exp(-mean(mixed**2) / 2) / math.exp(-mean(self.fresh**2) / 2)
        return x0, a * x_mid + b * self.fresh, t, importance

    def student_loss(self, student: Network, teacher: Network, fake: Network, *, w: float, kind: str) -> Tensor:
        """D(x0_S - sg[x0_S + (x0_T - x0_F) + (w - 1)(x0_T - x0_T,empty)]) / mean|x0_S - x0_T,guided| at (x_t, t)."""
        x0, x_t, t, _ = self.renoised(student)
        with torch.no_grad():
            real, seen = (self.process.x0(network, x_t, t, self.prompt) for network in (teacher, fake))
            real = real + (w - 1) * (real - self.process.x0(teacher, x_t, t, None))
        return distribution_matching(x0, real, seen, kind=kind)[0]

    def fake_score_loss(self, student: Network, fake: Network) -> Tensor:
        """min(SNR_t, 5) importance mean (x0_F(x_t, t) - sg x0_S)²."""
        with torch.no_grad():
            x0, x_t, t, importance = self.renoised(student)
        snr = (self.process.alpha(t) / self.process.sigma(t)) ** 2
        error = self.process.x0(fake, x_t, t, self.prompt) - x0
        return min(snr, 5.0) * importance * sum(e * e for e in error.flatten()) / error.numel()
