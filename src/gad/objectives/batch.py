"""What a training step sees: stored states at one node per sample."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gad.models.conditioning import Conditioning
from gad.noise_pairs import NoisePairs
from gad.objectives.variants import VARIANTS
from gad.sampling import step_target
from gad.shapes import Latent, PerSample


@dataclass(frozen=True)
class Batch:
    """States at one node per sample with the x0 that leads on along the teacher's trajectory, and its two ends.

    Paired batches hold the B/2 unperturbed members first and their perturbed partners after them.
    """

    ids: Tensor
    x_t: Latent
    t: PerSample
    target: Latent
    noise: Latent
    endpoint: Latent
    conditioning: Conditioning | None
    paired: bool

    def to(self, device) -> "Batch":
        conditioning = self.conditioning and self.conditioning.to(device)
        moved = [tensor.to(device) for tensor in (self.x_t, self.t, self.target, self.noise, self.endpoint)]
        return Batch(self.ids, *moved, conditioning, self.paired)


def step_generator(*key: int) -> torch.Generator:
    """A generator that depends on the key alone, so a resumed run draws the same numbers."""
    # hashed to 32 bits: torch's generator on the CPU ignores the upper half of its seed
    return torch.Generator().manual_seed(int(np.random.SeedSequence(key).generate_state(1)[0]))


def draw_batch(
    pairs: NoisePairs, prompts: Conditioning | None, schedule, *, variant: str, batch_size: int, key: tuple[int, int]
) -> Batch:
    """The batch of a training step; it depends on ``key`` = (seed, step) alone, so a resumed run sees the same data.

    Unpaired variants draw ``batch_size`` independent noises; the paired ones draw half as many pairs and use both
    members, so every variant makes the same number of student calls on an equal number of stored trajectories.
    """
    generator = step_generator(*key)
    copies, paired = pairs.config.directions_per_noise, VARIANTS[variant].paired
    count = batch_size // 2 if paired else batch_size
    ids = torch.randint(len(pairs), (count,), generator=generator)
    node = torch.randint(pairs.config.num_nodes, (count,), generator=generator)
    if paired:
        partner = 1 + torch.randint(copies, (count,), generator=generator)
        member = torch.cat([torch.zeros_like(partner), partner])
        ids, node = ids.repeat(2), node.repeat(2)
    else:
        member = torch.randint(1 + copies, (count,), generator=generator)
        member = torch.where(member > 0, member + copies, member)
    return stored_states(pairs, prompts, schedule, ids, member, node, paired=paired)


def stored_states(
    pairs: NoisePairs,
    prompts: Conditioning | None,
    schedule,
    ids: Tensor,
    member: Tensor,
    node: Tensor,
    *,
    paired: bool,
) -> Batch:
    """The batch of the given members of sample ids, each at its node."""
    states = pairs.trajectories(ids, member)
    rows = torch.arange(len(ids))
    x_t, x_next = states[rows, node], states[rows, node + 1]
    t, t_next = pairs.times[node], pairs.times[node + 1]
    target = step_target(schedule, x_t, x_next, t, t_next)
    conditioning = None if prompts is None else prompts[ids]
    return Batch(ids, x_t, t, target, states[:, 0], states[:, -1], conditioning, paired)
