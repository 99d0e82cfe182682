"""Which network is called where: one training step's loss terms for a batch."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gad.losses.gad import gad_response_loss
from gad.losses.matching import matching_loss
from gad.models.conditioning import Conditioning
from gad.models.denoiser import Denoiser
from gad.noise_pairs import NoisePairs
from gad.response import Response
from gad.sampling import step_target
from gad.shapes import Latent, PerSample

VARIANTS = ("baseline", "noise_augmentation", "gad")


@dataclass(frozen=True)
class Batch:
    """States at one node per sample with the x0 that leads on along the teacher's trajectory.

    Paired batches hold the B/2 unperturbed members first and their perturbed partners after them.
    """

    ids: Tensor
    x_t: Latent
    t: PerSample
    target: Latent
    conditioning: Conditioning | None
    paired: bool

    def to(self, device) -> "Batch":
        conditioning = self.conditioning and self.conditioning.to(device)
        moved = [tensor.to(device) for tensor in (self.x_t, self.t, self.target)]
        return Batch(self.ids, *moved, conditioning, self.paired)


def draw_batch(
    pairs: NoisePairs, prompts: Conditioning | None, schedule, *, variant: str, batch_size: int, key: tuple[int, int]
) -> Batch:
    """The batch of a training step; it depends on ``key`` = (seed, step) alone, so a resumed run sees the same data.

    The baseline draws ``batch_size`` independent noises; the paired variants draw half as many pairs and use both
    members, so every variant makes the same number of student calls on an equal number of stored trajectories.
    """
    # hashed to 32 bits: torch's generator on the CPU ignores the upper half of its seed
    generator = torch.Generator().manual_seed(int(np.random.SeedSequence(key).generate_state(1)[0]))
    copies, paired = pairs.config.directions_per_noise, variant != "baseline"
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
    states = pairs.trajectories(ids, member)
    rows = torch.arange(len(ids))
    x_t, x_next = states[rows, node], states[rows, node + 1]
    t, t_next = pairs.times[node], pairs.times[node + 1]
    target = step_target(schedule, x_t, x_next, t, t_next)
    return Batch(ids, x_t, t, target, None if prompts is None else prompts[ids], paired)


def matching_step(
    student: Denoiser, batch: Batch, *, gad_weight: float, h: float, jvp_power: float, loss: str
) -> dict[str, Tensor]:
    """Loss terms ``[B]`` of output matching with the response form of GAD on free pairs. Eq. (2), (6) and (7).

    ``gad`` is relative to the teacher's mean squared response ``jvp_power``, so 1 means no response at all and
    ``gad_weight`` weighs it; in the paper's units (loss on differences, mean over elements) the weight is
    gad_weight / (jvp_power h²). The second members of the pairs serve both terms: GAD costs no extra call.
    """
    x0 = student(batch.x_t, batch.t, batch.conditioning)
    terms = {"matching": matching_loss(x0, batch.target, kind=loss)}
    if batch.paired:
        value, moved = x0.chunk(2)
        base, base_moved = batch.target.chunk(2)
        gap = gad_response_loss(Response(value, (moved - value) / h), Response(base, (base_moved - base) / h))
        terms["gad"] = gap / jvp_power
    terms["total"] = terms["matching"].mean() + (gad_weight * terms["gad"].mean() if gad_weight else 0)
    return terms
