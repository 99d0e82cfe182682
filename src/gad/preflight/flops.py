"""Counts the work of a training step from shapes alone."""

from torch.utils.flop_counter import FlopCounterMode

from gad.config import StudentConfig
from gad.diffusion.denoiser import NetworkDenoiser
from gad.distillation.batch import Batch
from gad.distillation.objective import networks_of_objective
from gad.distillation.trainable import Trainable
from gad.preflight.shape_step import run_shape_step


def step_flops(student: NetworkDenoiser, objective: Trainable, part: Batch, config: StudentConfig) -> float:
    """FLOPs of a training step whose parts are all like ``part``: the student's terms and the auxiliary's updates.

    The model's own work: what gradient checkpointing computes a second time is not counted. Every network loses its
    weights: they go to the device "meta", which has shapes alone, so that nothing is computed and nothing fills memory.
    """
    for network in networks_of_objective(student, objective):
        network._compiled_call_impl = None  # compiled for where it was
        if (disable := getattr(network, "disable_gradient_checkpointing", None)) is not None:
            disable()
    for denoiser in (student, *objective.networks().learning):
        denoiser.compute = None
    student, objective, part = student.to("meta"), objective.to("meta"), part.to("meta")
    for network in networks_of_objective(student, objective):
        network.float()
    with FlopCounterMode(display=False) as counter:
        run_shape_step(student, objective, part, config)
    return float(config.accumulate * counter.get_total_flops())
