"""What a training step sees: stored states at one student timestep per sample."""

from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gad.data.noise_pairs import NoisePairs
from gad.diffusion.conditioning import Conditioning
from gad.diffusion.sampling import x0_of_ddim_step
from gad.diffusion.shapes import Latent, PerSample
from gad.runtime.devices import send_to_device


@dataclass(frozen=True)
class Batch:
    """States at one timestep per sample with the x0 that leads on along the teacher's trajectory, and its two ends.

    Paired batches hold the B/2 unperturbed members first and their perturbed partners, ``h`` away, after them.
    ``others`` are another sample's prompts, where they are needed. A part of a batch knows its ``rows`` in the
    whole, so that its random numbers are its own rows of the whole's. Rows and ``t_here``, the times again, stay on the
    CPU on the way to a device: what is chosen by them is chosen without waiting for it. ``other_jvp``: where it is
    needed, the teacher's response of another pair, ``[B/2]``.
    """

    ids: Tensor
    x_t: Latent
    t: PerSample
    t_here: PerSample
    target: Latent
    noise: Latent
    endpoint: Latent
    conditioning: Conditioning | None
    others: Conditioning | None
    h: Tensor | None
    rows: Tensor
    size: int
    other_jvp: Tensor | None = None

    @property
    def paired(self) -> bool:
        return self.h is not None

    @property
    def pair_steps(self) -> Tensor:
        """``h`` of a paired batch, ``[B/2]``."""
        assert self.h is not None, "a batch without pairs has no steps"
        return self.h

    def to(self, device) -> "Batch":
        def move(value):
            return value.to(device) if isinstance(value, Conditioning) else send_to_device(value, device)

        moved = self._map(move, move)
        return replace(moved, rows=self.rows, t_here=self.t_here)

    def split(self, parts: int) -> "list[Batch]":
        """Equal parts of the batch; pairs stay together."""
        return [self.part(part) for part in torch.arange(len(self.ids if self.h is None else self.h)).chunk(parts)]

    def part(self, index: Tensor) -> "Batch":
        """The pairs of those numbers, both members of each, or the samples of an unpaired batch."""
        rows = torch.cat([index, index + len(self.ids) // 2]) if self.paired else index
        on = cache(partial(send_to_device, rows))
        return self._map(lambda value: value[on(value.device)], lambda pair: pair[send_to_device(index, pair.device)])

    def pairs_at(self, stride: int) -> Tensor:
        """Numbers of the pairs that stand at every ``stride``-th place of the whole batch, however it was split."""
        return (self.rows[: len(self.pair_steps)] % stride == 0).nonzero().flatten()

    def _map(self, function, function_of_pairs) -> "Batch":
        names = ("ids", "x_t", "t", "t_here", "target", "noise", "endpoint", "conditioning", "others", "rows")
        values = {name: getattr(self, name) for name in names}
        changed: dict[str, Any] = {name: None if value is None else function(value) for name, value in values.items()}
        of_pairs = {name: getattr(self, name) for name in ("h", "other_jvp")}
        changed |= {name: None if value is None else function_of_pairs(value) for name, value in of_pairs.items()}
        return replace(self, **changed)

    def _rows_of(self, numbers: Tensor) -> Tensor:
        """This part's own rows of the whole batch's random numbers, where and as precise as the noise is."""
        return send_to_device(numbers[self.rows].to(self.noise.dtype), self.noise.device)

    def normal(self, generator: torch.Generator) -> Latent:
        """Standard normal numbers of the latents' shape, drawn on the CPU for the whole batch."""
        return self._rows_of(torch.randn(self.size, *self.noise.shape[1:], generator=generator))

    def normal_number(self, generator: torch.Generator) -> PerSample:
        """A standard normal number per sample."""
        return self._rows_of(torch.randn(self.size, generator=generator))

    def uniform(self, generator: torch.Generator) -> PerSample:
        """A number in [0, 1) per sample."""
        return self._rows_of(torch.rand(self.size, generator=generator))

    def integers_here(self, high: int, generator: torch.Generator) -> Tensor:
        """A number in 0..high-1 per sample, on the CPU: what is chosen by it is chosen without waiting for a device."""
        return torch.randint(high, (self.size,), generator=generator)[self.rows]


def batch_random_generator(*key: int) -> torch.Generator:
    """A generator that depends on the key alone, so a resumed run draws the same numbers."""
    # hashed to 32 bits: torch's generator on the CPU ignores the upper half of its seed
    return torch.Generator().manual_seed(int(np.random.SeedSequence(key).generate_state(1)[0]))


def batch_of_stored_pairs(
    pairs: NoisePairs, prompts: Conditioning | None, schedule, ids: Tensor, partner: Tensor, node: Tensor
) -> Batch:
    """The paired batch of sample ids with the partner of that number, each pair at its timestep."""
    member = torch.cat([torch.zeros_like(partner), 1 + partner])
    batch = batch_of_stored_states(pairs, prompts, schedule, ids.repeat(2), member, node.repeat(2))
    return replace(batch, h=torch.tensor(pairs.config.steps)[partner])


def batch_of_stored_states(
    pairs: NoisePairs, prompts: Conditioning | None, schedule, ids: Tensor, member: Tensor, node: Tensor
) -> Batch:
    """The batch of the given members of sample ids, each at its timestep."""
    states = pairs.trajectories(ids, member)
    rows = torch.arange(len(ids))
    x_t, x_next = states[rows, node], states[rows, node + 1]
    t, t_next = pairs.times[node], pairs.times[node + 1]
    target = x0_of_ddim_step(schedule, x_t, x_next, t, t_next)
    ends, conditioning = (states[:, 0], states[:, -1]), None if prompts is None else prompts[ids]
    return Batch(ids, x_t, t, t, target, *ends, conditioning, None, None, rows, len(ids))
