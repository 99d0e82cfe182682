"""The two updates of a training step: first of the auxiliary network, where there is one, then of the student."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gad.diffusion.denoiser import NetworkDenoiser
from gad.distillation.batch import Batch, batch_random_generator
from gad.distillation.monitor import gradient_norms
from gad.distillation.nan_guard import NanGuard
from gad.distillation.trainable import Trainable, WithAuxiliary
from gad.distillation.training_state import TrainingState
from gad.runtime.fsdp import reshard


@dataclass(frozen=True)
class Updates:
    """Updates of ``state`` by the gradients of ``objective``, accumulated over the parts of a batch.

    Random numbers depend on seed, step and update alone. The gradients of student and auxiliary network never mix.
    """

    student: NetworkDenoiser
    objective: Trainable
    state: TrainingState
    guard: NanGuard
    seed: int

    def auxiliary(self, batches: list[Batch], step: int, updates: int) -> dict[str, Tensor]:
        """Update the auxiliary network and return its last loss ``[B]`` by name; without one, nothing.

        Outside this method it is frozen, so the student's loss leaves no gradient in it.
        """
        trained, objective = self.state.auxiliary, self.objective
        if trained is None:
            return {}
        assert isinstance(objective, WithAuxiliary)
        reshard(trained.network)  # or only the gathered weights would hear of it
        trained.network.requires_grad_(True)
        for update in range(updates):
            losses = []
            for part in batches:
                generator = batch_random_generator(self.seed, step, 2 + update)
                losses.append(objective.auxiliary_loss(self.student, part, generator))
                trained.backward(losses[-1].mean() / len(batches))
                losses[-1] = losses[-1].detach()
            trained.clip_gradients()
            trained.step()
        reshard(trained.network)
        trained.network.requires_grad_(False)
        return {"auxiliary": torch.cat(losses)}

    def gradients(
        self, batches: list[Batch], step: int, logged: dict[str, Tensor], *, norms: bool
    ) -> tuple[dict[str, Tensor], dict[str, float]]:
        """Give the student the gradient of the objective's total; return the batch means of all terms.

        ``logged`` is averaged along. With ``norms`` also each term's gradient norm, on the first part. Raises
        NonFiniteLoss.
        """
        trained = self.state.student
        means: dict[str, Tensor] = {}
        found: dict[str, float] = {}
        for part in batches:
            terms = self.objective.terms(self.student, part, batch_random_generator(self.seed, step, 1)) | logged
            for name, term in terms.items():
                means[name] = means.get(name, 0.0) + self.guard.wide(term.detach().mean()) / len(batches)
            self.guard.check_terms(means, step)
            if norms:
                found = found or gradient_norms(terms, trained.parameters, trained.scaler.get_scale())
            trained.backward(terms["total"] / len(batches))
        return means, found

    def step(self, step: int) -> Tensor:
        """Clip the student's gradients and update it; return their norm. Raises NonFiniteLoss before the update, so
        that no checkpoint is spoilt."""
        norm = self.state.student.clip_gradients()
        if not self.state.student.scaler.is_enabled():  # a scaler leaves out the steps whose gradients overflow
            self.guard.check_norm(norm, step)
        self.state.step()
        return norm
