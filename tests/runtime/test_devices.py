"""A step on a device lets the host run ahead: it reads nothing back and takes no rows by numbers that lie on the CPU.

The device "meta" stands in for a GPU: it has shapes and no values, so that a read fails anywhere.
"""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from gad.config import StudentConfig
from gad.diffusion.guidance import Guided
from gad.distillation.batch import batch_random_generator
from gad.distillation.batch_source import draw_batch
from gad.distillation.objective import build_objective
from gad.models.model import load_model
from gad.models.students import start_student

READS = ("aten::_local_scalar_dense", "aten::nonzero", "aten::is_nonzero", "aten::item", "aten::equal")


class HostRunsAhead(TorchDispatchMode):
    """Fails where the device would have to be waited for."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.name()
        tensors = [part for part in args if isinstance(part, torch.Tensor)]
        for part in args:
            tensors += [one for one in part if isinstance(one, torch.Tensor)] if isinstance(part, (list, tuple)) else []
        away = any(tensor.is_meta for tensor in tensors)
        if away and name.startswith(READS):
            raise AssertionError(f"{name} reads from the device")
        if away and name.startswith("aten::index") and not all(tensor.is_meta for tensor in tensors):
            raise AssertionError(f"{name} takes rows of the device by numbers on the CPU")
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("paradigm", ["matching", "ladd", "tdm", "sid"])
@pytest.mark.parametrize("changes", [{}, {"gad_interval": [0.3, 1.0]}, {"gad_batch_stride": 2}])
def test_a_step_on_a_device_waits_for_nothing(point_teacher, point_pairs, smoke, paradigm, changes):
    base = smoke.student.model_dump() | {"paradigm": paradigm}
    config = StudentConfig(**base | ({} if paradigm == "matching" else changes))
    scores = paradigm in ("tdm", "sid")
    for variant in ["gad", "gad_score_fixed", "gad_released"] if scores else ["gad"]:
        student = start_student(point_teacher, config, seed=0)
        objective = build_objective(point_teacher, student, point_pairs, config, variant=variant, seed=0)
        batch = draw_batch(point_pairs, None, student.schedule, variant=variant, batch_size=16, key=(0, 0))
        objective, away = objective.to("meta"), student.to("meta")
        with HostRunsAhead():
            for part in batch.split(2):
                part = part.to("meta")
                if objective.auxiliary is not None:
                    objective.auxiliary_loss(away, part, batch_random_generator(0))
                assert objective.terms(away, part, batch_random_generator(1))["total"].is_meta


def test_networks_of_every_family_are_asked_without_waiting(saved, noise, conditioning):
    away = load_model(saved).denoiser.to("meta")
    with HostRunsAhead(), torch.no_grad():
        for asked in (away, Guided(away, conditioning[:1].to("meta"), 3.0)):
            assert asked(noise.to("meta"), torch.full((2,), 0.7, device="meta"), conditioning.to("meta")).is_meta
