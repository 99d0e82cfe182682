"""What a batch holds beside its stored states: the target that the recipe names, and another pair's response."""

from dataclasses import replace

import torch
from torch import Tensor

from gad.config.student_options import Target
from gad.config.variants import VARIANTS
from gad.diffusion.shapes import PerSample
from gad.distillation.batch import Batch
from gad.distillation.pair_terms import pair_term_response
from gad.distillation.targets import with_target


def next_pair_at_the_same_time(t: PerSample) -> Tensor:
    """For each pair the number of the next one at its timestep, the first after the last; of all, where it is alone."""
    count = len(t)
    number = torch.arange(count)
    distance = (number[None] - number[:, None]) % count
    distance = torch.where(distance == 0, 2 * count, distance)  # itself: last of all
    return torch.where(t[:, None] == t[None], distance, distance + count).argmin(dim=1)


def with_response_of_other_pair(batch: Batch, target: Target) -> Batch:
    """A paired batch with another pair's teacher response for each: of the same timestep, where it has another.

    To be called before a batch is split: which pair it is depends on the whole.
    """
    response = pair_term_response(batch.target, batch.pair_steps)
    t = batch.t_here[: len(batch.pair_steps)]
    order = next_pair_at_the_same_time(torch.ones_like(t) if target == "end_to_end" else t)
    return replace(batch, other_jvp=response.jvp[order])


def batch_with_other_pairs(batch: Batch, variant: str, target: Target) -> Batch:
    """The stored states as a variant's loss terms need them."""
    batch = with_target(batch, target)
    return with_response_of_other_pair(batch, target) if VARIANTS[variant].weighted_term == "other_pair" else batch
