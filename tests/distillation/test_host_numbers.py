"""A training step waits for no number: nothing is read from its device, and none of the host's is copied there singly.

The device "meta" stands for a GPU: it has shapes alone, and what asks it for a value fails by itself.
"""

import copy
import traceback
from dataclasses import replace

import pytest
import torch
from torch.overrides import TorchFunctionMode

from gad.distillation.batch_source import draw_batch
from gad.distillation.objective import build_objective
from gad.distillation.other_pairs import batch_with_other_pairs
from gad.models.students import start_student
from gad.preflight.flops import step_flops

COPIES = {torch.tensor, torch.as_tensor, torch.Tensor.new_tensor}  # of numbers of the host


class Waits(TorchFunctionMode):
    """Notes which lines of the project copy numbers of the host to the device."""

    def __init__(self):
        super().__init__()
        self.lines: list[str] = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        if function in COPIES and found.is_meta:
            frames = [frame for frame in traceback.extract_stack() if "/gad/" in frame.filename]
            self.lines += [f"{frame.filename}:{frame.lineno}" for frame in frames[-1:]] or ["elsewhere"]
        return found


def test_a_number_of_the_host_on_a_device_is_noticed():
    with Waits() as waits:
        torch.tensor([1.0, 2.0])
        assert waits.lines == []
        torch.tensor([1.0, 2.0], device="meta")
    assert waits.lines == ["elsewhere"]


@pytest.mark.slow_for("pointwise_anchor", "sdxl_tdm")
@pytest.mark.parametrize("variant", ["gad", "pointwise_anchor"])
def test_a_step_of_every_family_waits_for_no_number(hub_run, variant):
    settings, teacher, pairs, _ = hub_run
    config, prompts = settings.student, teacher.condition([f"a red cat {i}" for i in range(len(pairs))])
    teacher = replace(teacher, denoiser=copy.deepcopy(teacher.denoiser))  # it loses its weights
    student = start_student(teacher, config, seed=0)
    objective = build_objective(teacher, student, pairs, config, variant=variant, seed=0)
    options = {"batch_size": config.batch_size, "key": (0, 0), "misaligned": config.misaligned}
    batch = draw_batch(pairs, prompts, student.schedule, variant=variant, **options)
    batch = batch_with_other_pairs(batch, variant, config.target)
    with Waits() as waits:
        assert step_flops(student, objective, batch, config) > 0
    assert waits.lines == []
