"""What is monitored while a student trains: its response on a few fixed pairs, and the gradient norm of each term."""

import torch
from torch import Tensor, nn

from gad.config import StudentConfig
from gad.data.noise_pairs import NoisePairs
from gad.diffusion.conditioning import Conditioning
from gad.diffusion.denoiser import Denoiser
from gad.distillation.batch import batch_of_stored_pairs
from gad.distillation.pair_terms import pair_term_response
from gad.distillation.targets import ComparedOutput, with_target
from gad.metrics.response import jacobian_norm_ratio, jvp_cosine

PROBE_PAIRS = 16


def probe_part(config: StudentConfig) -> int:
    """Pairs that the monitor asks for at once: as many as a part of a batch that is computed in parts, else all."""
    return PROBE_PAIRS if config.accumulate == 1 else config.batch_size // 2 // config.accumulate


class Monitor:
    """The first pairs at the first timestep: the student's response there against the teacher's stored one.

    ``compared``: which output of the student is compared, and with which of the teacher's. ``part``: pairs a call.
    """

    def __init__(
        self,
        pairs: NoisePairs,
        prompts: Conditioning | None,
        schedule,
        device="cpu",
        compared: ComparedOutput = ComparedOutput(),  # noqa: B008  # frozen
        part: int = PROBE_PAIRS,
    ):
        ids = torch.arange(min(PROBE_PAIRS, len(pairs)))
        zero = torch.zeros_like(ids)
        batch = batch_of_stored_pairs(pairs, prompts, schedule, ids, zero, zero)
        self.batch, self.compared = with_target(batch, compared.target).to(device), compared
        self.parts = [self.batch] if part >= len(ids) else [self.batch.part(index) for index in ids.split(part)]

    @torch.no_grad()
    def measure(self, student: Denoiser) -> dict[str, float]:
        """``monitor_jvp_cosine``, higher is better, and ``monitor_gain``, 1 is best; by difference at the pairs' h."""
        halves = [self.compared(student, part).chunk(2) for part in self.parts]
        values = torch.cat([value for value, _ in halves] + [moved for _, moved in halves])
        ours = pair_term_response(values, self.batch.pair_steps)
        theirs = pair_term_response(self.batch.target, self.batch.pair_steps)
        cosine = jvp_cosine(ours, theirs).mean().item()
        return {"monitor_jvp_cosine": cosine, "monitor_gain": jacobian_norm_ratio(ours, theirs)}


def gradient_norms(terms: dict[str, Tensor], parameters: list[nn.Parameter], scale: float = 1.0) -> dict[str, float]:
    """Norm of each term's own gradient, before its weight, as ``gradient_norm_<term>``; the graph is retained.

    The term is raised by ``scale`` on the way back, where half precision would lose small gradients.
    """
    norms = {}
    for name, term in terms.items():
        if name != "total" and term.requires_grad:
            norms[f"gradient_norm_{name}"] = _gradient_norm(scale * term, parameters) / scale
    return norms


def _gradient_norm(term: Tensor, parameters: list[nn.Parameter]) -> float:
    """A function of its own, so that one term's gradients are gone before the next one's are made."""
    found = torch.autograd.grad(term.mean(), parameters, retain_graph=True, allow_unused=True)
    return torch.stack([g.norm() for g in found if g is not None]).norm().item()
