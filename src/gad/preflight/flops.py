"""Counts the work of a training step from shapes alone."""

from torch.utils.flop_counter import FlopCounterMode

from gad.config import StudentConfig
from gad.diffusion.denoiser import NetworkDenoiser
from gad.distillation.batch import Batch, batch_random_generator
from gad.distillation.learning_weights import let_weights_learn
from gad.distillation.objective import networks_of_objective
from gad.distillation.trainable import Trainable, WithAuxiliary, WithRollout


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
    let_weights_learn(student.network.train())
    with FlopCounterMode(display=False) as counter:
        rollout = (
            objective.rollout(student, part, batch_random_generator(0)) if isinstance(objective, WithRollout) else None
        )
        shared = () if rollout is None else (rollout,)
        if objective.auxiliary is not None:
            assert isinstance(objective, WithAuxiliary)
            let_weights_learn(objective.auxiliary)
            for update in range(config.auxiliary_updates):
                objective.auxiliary_loss(student, part, batch_random_generator(0, update), *shared).mean().backward()
            let_weights_learn(objective.auxiliary, False)
        objective.terms(student, part, batch_random_generator(1), *shared)["total"].backward()
    return float(config.accumulate * counter.get_total_flops())
