"""Counts the memory that a training step takes beside weights and optimiser, from shapes alone."""

import torch

from gad.config import StudentConfig
from gad.diffusion.denoiser import NetworkDenoiser
from gad.distillation.batch import Batch
from gad.distillation.learning_weights import learning_parameters
from gad.distillation.monitor import Monitor
from gad.distillation.network_setup import prepare_network_precision
from gad.distillation.objective import networks_of_objective
from gad.distillation.trainable import Trainable
from gad.preflight.gpu_autocast import gpu_autocast
from gad.preflight.live_bytes import LiveBytes
from gad.preflight.shape_step import run_shape_step
from gad.preflight.weightless import without_weights


def step_peak_bytes(
    student: NetworkDenoiser, objective: Trainable, part: Batch, config: StudentConfig, *, logs: bool = True
) -> int:
    """Most bytes of temporaries at once during a step, whose parts are all like ``part``, with a step's log by default.

    Not in it: the weights and their accumulated gradients, which are taken to be there from the start, as they are from
    the second part on. Networks compute as ``config`` says on a GPU, gradient checkpointing included, but are not
    compiled. In place: the networks lose their weights (:func:`gad.preflight.weightless.without_weights`).
    """
    config = config.model_copy(update={"compile": False})
    prepare_network_precision(student, objective, config, torch.device("cpu"))
    networks = networks_of_objective(student, objective)
    without_weights(networks)
    learning = [student.network, *([] if objective.auxiliary is None else [objective.auxiliary])]
    for network in learning:
        for parameter in learning_parameters(network):
            parameter.grad = torch.empty_like(parameter, requires_grad=False)
    with gpu_autocast(), LiveBytes() as counter:
        run_shape_step(student, objective, part, config, logs=logs)
    return counter.peak


def monitor_peak_bytes(student: NetworkDenoiser, monitor: Monitor) -> int:
    """Most bytes at once while a log's fixed pairs are answered, of a student that :func:`step_peak_bytes` has left."""
    with torch.no_grad(), gpu_autocast(), LiveBytes() as counter:
        monitor.compared(student, monitor.parts[0])
    return counter.peak
