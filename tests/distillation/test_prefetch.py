"""The next step's batch is drawn beforehand, and is the one that would have been drawn."""

from types import SimpleNamespace

import pytest
import torch

from gad.diffusion.schedule import CosineSchedule
from gad.distillation.batch_source import WARMUP, BatchSource
from gad.distillation.prefetch import Prefetch


def test_what_is_drawn_beforehand_is_what_is_asked_for_in_any_order_and_nothing_beyond_the_end():
    asked = []

    def draw(step):
        asked.append(step)
        return step**2

    prefetch = Prefetch(draw, end=6)
    assert [prefetch(step) for step in (0, 1, 2, 4, 5, 9)] == [0, 1, 4, 16, 25, 81]
    prefetch.threads.shutdown()
    assert sorted(asked) == [0, 1, 2, 3, 4, 5, 9]


def test_a_batch_that_cannot_be_drawn_fails_the_step_that_asks_for_it():
    def draw(step):
        if step == 1:
            raise ValueError("shard 1 is corrupt")
        return step

    prefetch = Prefetch(draw, end=3)
    assert prefetch(0) == 0
    with pytest.raises(ValueError, match="shard 1 is corrupt"):
        prefetch(1)
    assert prefetch(2) == 2


def test_a_device_gets_the_batches_that_a_cpu_gets(point_pairs, smoke):
    """The device "meta" keeps no values; times and rows stay on the CPU for every device."""

    def source(device):
        accelerator = SimpleNamespace(device=torch.device(device), num_processes=1, process_index=0)
        config = smoke.student.model_copy(update={"accumulate": 2})
        return BatchSource(point_pairs, None, CosineSchedule(), config, "gad", 0, accelerator)

    ours, theirs = source("meta"), source("cpu")
    assert isinstance(ours._drawn, Prefetch) and not isinstance(theirs._drawn, Prefetch)
    for step in (WARMUP, WARMUP + 1, 0, 1, 2, 7, 8):
        for mine, other in zip(ours.at(step), theirs.at(step), strict=True):
            assert mine.x_t.is_meta and torch.equal(mine.t_here, other.t) and torch.equal(mine.rows, other.rows)
