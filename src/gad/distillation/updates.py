"""The two updates of a training step: first of the auxiliary network, where there is one, then of the student."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gad.diffusion.denoiser import NetworkDenoiser
from gad.distillation.batch import Batch, batch_random_generator
from gad.distillation.batch_source import WARMUP, BatchSource
from gad.distillation.learning_weights import let_weights_learn
from gad.distillation.monitor import gradient_norms
from gad.distillation.nan_guard import NanGuard
from gad.distillation.trainable import Trainable, WithAuxiliary, WithRollout
from gad.distillation.training_state import TrainingState
from gad.runtime.fsdp import reshard

ROLLOUT = 2**20  # where the number of an update stands, which is smaller; 0 would draw what the batch has drawn


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

    def rollouts(self, batches: list[Batch], step: int) -> list[tuple]:
        """For each part what both updates of a step share, as the arguments that follow the generator; mostly none."""
        if not isinstance(self.objective, WithRollout):
            return [()] * len(batches)
        key = (self.seed, step, ROLLOUT)
        found = (self.objective.rollout(self.student, part, batch_random_generator(*key)) for part in batches)
        return [() if rollout is None else (rollout,) for rollout in found]

    def auxiliary(self, batches: list[Batch], step: int, updates: int, shared: list[tuple]) -> dict[str, Tensor]:
        """Update the auxiliary network and return its last loss ``[B]`` by name; without one, nothing.

        ``shared`` is what :meth:`rollouts` has made. Outside this method the network is frozen, so the student's loss
        leaves no gradient in it.
        """
        trained, objective = self.state.auxiliary, self.objective
        if trained is None:
            return {}
        assert isinstance(objective, WithAuxiliary)
        reshard(trained.network)  # or only the gathered weights would hear of it
        let_weights_learn(trained.network)
        for update in range(updates):
            losses = []
            for part, rollout in zip(batches, shared, strict=True):
                generator = batch_random_generator(self.seed, step, 2 + update)
                losses.append(objective.auxiliary_loss(self.student, part, generator, *rollout))
                trained.backward(losses[-1].mean() / len(batches))
                losses[-1] = losses[-1].detach()
            trained.clip_gradients()
            trained.step()
        reshard(trained.network)
        let_weights_learn(trained.network, False)
        return {"auxiliary": torch.cat(losses)}

    def gradients(
        self, batches: list[Batch], step: int, logged: dict[str, Tensor], shared: list[tuple], *, norms: bool
    ) -> tuple[dict[str, Tensor], dict[str, float]]:
        """Give the student the gradient of the objective's total; return the batch means of all terms.

        ``logged`` is averaged along. With ``norms`` also each term's gradient norm, on the first part. Raises
        NonFiniteLoss.
        """
        trained = self.state.student
        means: dict[str, Tensor] = {}
        found: dict[str, float] = {}
        for part, rollout in zip(batches, shared, strict=True):
            terms = self.objective.terms(self.student, part, batch_random_generator(self.seed, step, 1), *rollout)
            terms = self._weighed(terms, step) | logged
            for name, term in terms.items():
                means[name] = means.get(name, 0.0) + self.guard.wide(term.detach().mean()) / len(batches)
            self.guard.check_terms(means, step)
            if norms:
                found = found or gradient_norms(terms, trained.parameters, trained.scaler.get_scale())
            trained.backward(terms["total"] / len(batches))
        return means, found

    def _weighed(self, terms: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        """The terms, with those that are unweighted in the total where weights follow gradients."""
        trained, ratio = self.state.student, self.state.gradient_ratio
        if ratio is None:
            return terms
        return ratio.weigh(terms, step, trained.parameters, scale=trained.scaler.get_scale())

    def warm_up(self, source: BatchSource, steps: int) -> None:
        """Update the auxiliary network alone that many times: it learns the student that has not learnt yet."""
        for step in range(WARMUP, WARMUP + steps):
            batches = source.at(step)
            self.auxiliary(batches, step, 1, [()] * len(batches))

    def step(self, step: int) -> Tensor:
        """Clip the student's gradients and update it; return their norm. Raises NonFiniteLoss before the update, so
        that no checkpoint is spoilt."""
        norm = self.state.student.clip_gradients()
        if not self.state.student.scaler.is_enabled():  # a scaler leaves out the steps whose gradients overflow
            self.guard.check_norm(norm, step)
        self.state.step()
        return norm
