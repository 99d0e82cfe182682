"""The batches of a run, drawn step by step, and this process's share of each."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from gad.config import StudentConfig
from gad.config.variants import VARIANTS
from gad.data.noise_pairs import NoisePairs
from gad.diffusion.conditioning import Conditioning
from gad.diffusion.schedule import Schedule
from gad.distillation.batch import Batch, batch_of_stored_pairs, batch_of_stored_states, batch_random_generator
from gad.distillation.other_pairs import batch_with_other_pairs
from gad.distillation.prefetch import Prefetch

if TYPE_CHECKING:  # imported where they are used at run time, since that takes seconds
    from accelerate import Accelerator

WARMUP = 2**30  # the steps from here on are those before the student's first update


def batch_source_partners(progress: float, schedule: str, copies: int) -> range:
    """Which of a noise's ``copies`` partners may be drawn at that share of the training, in [0, 1).

    Partners' steps h fall with their number: "decreasing" goes through them in order, "increasing" backwards.
    """
    if schedule == "any":
        return range(copies)
    number = int(progress * copies)
    first = number if schedule == "decreasing" else copies - 1 - number
    return range(first, first + 1)


@dataclass(frozen=True)
class BatchSource:
    """Draws a step's batch on the CPU and cuts it; ``prompts`` are the encoded captions of all sample ids.

    A batch depends on seed and step alone, so a resumed run sees the same data. On a device other than the CPU the
    next one is drawn from the memory-mapped pairs and prompts while the device works.
    """

    pairs: NoisePairs
    prompts: Conditioning | None
    schedule: Schedule
    config: StudentConfig
    variant: str
    seed: int
    accelerator: "Accelerator"

    def at(self, step: int) -> list[Batch]:
        """This process's parts of the step's batch, on its device; from ``WARMUP`` on they are for the warm-up."""
        processes, batch = self.accelerator.num_processes, self._drawn(step)
        own = batch.split(self.config.parts_of(processes))[self.accelerator.process_index :: processes]
        return [part.to(self.accelerator.device) for part in own]

    @cached_property
    def _drawn(self) -> Callable[[int], Batch]:
        """The whole batch of a step."""
        on_cpu = self.accelerator.device.type == "cpu"
        return self._draw if on_cpu else Prefetch(self._draw, self.config.num_steps)

    def _draw(self, step: int) -> Batch:
        config = self.config
        copies = self.pairs.config.directions_per_noise
        batch = draw_batch(
            self.pairs,
            self.prompts,
            self.schedule,
            variant=self.variant,
            batch_size=config.batch_size,
            key=(self.seed, step),
            partners=batch_source_partners(
                min(step % WARMUP, config.num_steps - 1) / config.num_steps, config.h_schedule, copies
            ),
            misaligned=config.misaligned,
        )
        return batch_with_other_pairs(batch, self.variant, config.target)


def draw_batch(
    pairs: NoisePairs,
    prompts: Conditioning | None,
    schedule,
    *,
    variant: str,
    batch_size: int,
    key: tuple[int, int],
    partners: range | None = None,
    misaligned: bool = False,
) -> Batch:
    """The batch of a training step; it depends on ``key`` = (seed, step) alone, so a resumed run sees the same data.

    Unpaired variants draw ``batch_size`` independent noises; the paired ones draw half as many pairs and use both
    members, so the base loss of every variant sees an equal number of stored trajectories.
    ``partners`` restricts which of a noise's partners may be drawn. ``misaligned``: with the prompt of the sample
    before as each sample's other one.
    """
    generator = batch_random_generator(*key)
    copies, paired = pairs.config.directions_per_noise, VARIANTS[variant].paired
    count = batch_size // 2 if paired else batch_size
    ids = torch.randint(len(pairs), (count,), generator=generator)
    node = torch.randint(pairs.config.student_steps, (count,), generator=generator)
    if not paired:
        member = torch.randint(1 + copies, (count,), generator=generator)
        member = torch.where(member > 0, member + copies, member)
        batch = batch_of_stored_states(pairs, prompts, schedule, ids, member, node)
    else:
        allowed = partners or range(copies)
        partner = allowed.start + torch.randint(len(allowed), (count,), generator=generator)
        batch = batch_of_stored_pairs(pairs, prompts, schedule, ids, partner, node)
    if not misaligned or prompts is None:
        return batch
    return replace(batch, others=prompts[batch.ids.roll(1)])
