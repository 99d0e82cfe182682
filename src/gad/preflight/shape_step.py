"""A part of a training step as it runs on shapes: once for all that count it, FLOPs or bytes."""

import torch

from gad.config import StudentConfig
from gad.diffusion.denoiser import NetworkDenoiser
from gad.distillation.batch import Batch, batch_random_generator
from gad.distillation.learning_weights import learning_parameters, let_weights_learn
from gad.distillation.trainable import Trainable, WithAuxiliary, WithRollout


def run_shape_step(
    student: NetworkDenoiser, objective: Trainable, part: Batch, config: StudentConfig, *, logs: bool = False
) -> None:
    """The auxiliary's updates and the student's gradient on one part, without optimisers and without a look at values.

    ``logs``: as in a step that logs, where a term's gradient is made beside the accumulated one and the graph is kept
    meanwhile. It is the total's here, which reaches what any term's does, and the student's own one is left out.
    """
    let_weights_learn(student.network.train())
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
    total = objective.terms(student, part, batch_random_generator(1), *shared)["total"]
    if logs:
        torch.autograd.grad(total, learning_parameters(student.network), retain_graph=True, allow_unused=True)
    else:
        total.backward()
