r"""Noise optimisation (ReNO, Eyring et al. 2024): climb a differentiable score through a model's map.

.. math:: z \leftarrow \cos a\; z + \sin a\, \|z\|\, \frac{g}{\|g\|},
    \qquad g = (I - z z^T / \|z\|^2)\, \nabla_z\, s(\Phi(z))

The step turns the noise on its own sphere, where N(0, I) has its mass, so no regulariser is needed. A turn
that lowers the score is taken back and halved. The gradient is exact for every model, the teacher's many guided steps
included: choose few prompts and iterations, and ``recompute`` where a trajectory's graph does not fit the memory. A
flat map has no gradient and gains nothing. A model that starts near the highest score has little left to gain:
read the gain beside the score at the start.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import pandas as pd
import torch
from torch import Tensor

from gad.config import NoiseOptimisationConfig, Recipe
from gad.config.sample_ids import OPTIMISATION, task_sample_ids
from gad.data.emoji.caption_accuracy import caption_accuracy
from gad.data.emoji.detector import Detector, load_emoji_detector
from gad.data.swiss_roll import make_swiss_roll
from gad.diffusion.noise import draw_noise, turn_noise
from gad.evaluation.control.prompts import Prompts, control_prompts
from gad.evaluation.control.task_output import TaskOutput, task_output_rows
from gad.metrics.clip_encoder import Encoder, load_clip_encoder
from gad.models.sampler import TEACHER, Sampler
from gad.runtime.cache import Result, ResultCache, at_once
from gad.runtime.devices import own_device

TARGET_SEED = 6  # the Swiss roll's target points
START, HANDED = "own", "teacher"  # whose optimised noise a row is about

Scored = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Noise to its score ``[B]`` and to what was made of it, with gradient."""


@dataclass(frozen=True)
class Ascent:
    """Noises, scores and outputs after 0, 1, ..., I iterations: ``[I + 1, B, ...]`` each."""

    noise: Tensor
    score: Tensor
    outputs: Tensor


@dataclass(frozen=True)
class Inputs:
    """Noises, their targets (text features ``[B, D]`` or target points ``[B, 2]``), the teacher's ascent."""

    noise: Tensor
    prompts: Prompts
    wanted: Tensor
    encoder: Encoder | None
    detector: Detector | None
    teacher: Ascent | None = None

    def part(self, index: Tensor) -> "Inputs":
        """The inputs of the prompts with those numbers, before the teacher has climbed."""
        captions = [self.prompts.captions[i] for i in index.tolist()]
        return replace(self, noise=self.noise[index], prompts=Prompts(captions), wanted=self.wanted[index])


def prepare_noise_optimisation(teacher: Sampler, settings: Recipe, cached: ResultCache = at_once) -> Inputs:
    """Draw the noises and let the teacher climb, whose optimised noises are handed to the students as well."""
    config, seed = settings.control.noise_optimisation, settings.control.seed
    assert config is not None
    count = config.num_prompts
    noise = draw_noise(task_sample_ids(OPTIMISATION, count), teacher.model.latent_shape, seed=seed)
    if teacher.model.pipeline is None:
        inputs = Inputs(noise, Prompts([""] * count), make_swiss_roll(count, TARGET_SEED), None, None)
    else:
        device = own_device(settings.control.device)
        prompts = control_prompts(count, config.prompts, captions=settings.noise_pairs.captions)
        encoder = load_clip_encoder(settings.control.clip, device=device)
        detector = None if prompts.scenes is None else load_emoji_detector()
        inputs = Inputs(noise, prompts, encoder.texts(prompts.captions), encoder, detector)

    def some(part: Tensor) -> Result:
        return vars(ascend_all_noises(teacher, inputs.part(part), config))

    size = _within_memory(teacher, config).batch_size
    found = cached.batches("ascent", count, size, some)
    ascent = Ascent(*(torch.cat([part[name] for part in found], dim=1) for name in ("noise", "score", "outputs")))
    return replace(inputs, teacher=ascent)


def run_noise_optimisation(sampler: Sampler, inputs: Inputs, config: NoiseOptimisationConfig) -> TaskOutput:
    """A row per prompt and iteration, iteration 0 being the untouched noise, and one with the teacher's last noise."""
    sampler = _within_memory(sampler, config)
    assert inputs.teacher is not None
    own = inputs.teacher if sampler.name == TEACHER else ascend_all_noises(sampler, inputs, config)
    last = inputs.teacher.noise[-1]
    with torch.no_grad():
        handed = _in_parts(sampler, inputs, lambda scored, part: scored(last[part]))
    count, length = len(inputs.prompts), len(own.score)
    labels = {"prompt": list(range(count)), "caption": inputs.prompts.captions}
    tables = [task_output_rows(**labels, noise=START, iteration=i, score=own.score[i]) for i in range(length)]
    tables.append(task_output_rows(**labels, noise=HANDED, iteration=length - 1, score=handed[0]))
    rows, outputs = pd.concat(tables, ignore_index=True), torch.cat([own.outputs.flatten(0, 1), handed[1]])
    if inputs.detector is not None and inputs.prompts.scenes is not None:
        accuracy = caption_accuracy(inputs.detector, outputs, inputs.prompts.scenes * (length + 1))
        rows["object_accuracy"] = accuracy["object_accuracy"].tolist()
    return TaskOutput(rows, outputs)


def summarise_noise_optimisation(rows: pd.DataFrame) -> dict[str, float]:
    """Mean score before and after, their difference (also per iteration), and the gain with the teacher's noises."""
    own, last = rows[rows["noise"] == START], int(rows["iteration"].max())
    before, after, handed = own[own["iteration"] == 0], own[own["iteration"] == last], rows[rows["noise"] == HANDED]
    start, end = float(before["score"].mean()), float(after["score"].mean())
    found = {"optimised_score_start": start, "optimised_score_end": end, "optimised_gain": end - start}
    found |= {"optimised_gain_per_step": (end - start) / last}
    found |= {"optimised_gain_teachers_noise": float(handed["score"].mean()) - start}
    if "object_accuracy" in rows:
        found["optimised_object_gain"] = float(after["object_accuracy"].mean() - before["object_accuracy"].mean())
    return found


def ascend_all_noises(sampler: Sampler, inputs: Inputs, config: NoiseOptimisationConfig) -> Ascent:
    """The ascent of every noise under its own prompt, a batch at a time."""
    sampler = _within_memory(sampler, config)

    def one(scored: Scored, part: Tensor) -> tuple[Tensor, ...]:
        ascent = ascend_noise(scored, inputs.noise[part], iterations=config.iterations, angle=config.angle)
        return tuple(values.transpose(0, 1) for values in (ascent.noise, ascent.score, ascent.outputs))

    return Ascent(*(values.transpose(0, 1) for values in _in_parts(sampler, inputs, one)))


def _within_memory(sampler: Sampler, config: NoiseOptimisationConfig) -> Sampler:
    return replace(sampler, recompute=config.recompute, batch_size=config.batch_size or sampler.batch_size)


def ascend_noise(scored: Scored, noise: Tensor, *, iterations: int, angle: float) -> Ascent:
    """Turn each noise towards a higher score; no score ever falls, and every norm stays."""
    turn = torch.full((len(noise),), angle)
    score, gradient, outputs = noise_score_and_gradient(scored, noise)
    states = [(noise, score, outputs)]
    for _ in range(iterations):
        candidate = turn_noise(noise, gradient, turn)
        new_score, new_gradient, new_outputs = noise_score_and_gradient(scored, candidate)
        better = new_score > score
        turn = torch.where(better, turn, turn / 2)
        noise, gradient = _where(better, candidate, noise), _where(better, new_gradient, gradient)
        score, outputs = torch.where(better, new_score, score), _where(better, new_outputs, outputs)
        states.append((noise, score, outputs))
    return Ascent(*(torch.stack(values) for values in zip(*states, strict=True)))


def noise_score_and_gradient(scored: Scored, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Scores ``[B]``, their gradient in the noise, and the outputs; samples do not mix."""
    with torch.enable_grad():
        z = noise.detach().requires_grad_()
        score, outputs = scored(z)
        (gradient,) = torch.autograd.grad(score.sum(), z)
    return score.detach(), gradient, outputs.detach()


def _where(better: Tensor, new: Tensor, old: Tensor) -> Tensor:
    return torch.where(better.view(-1, *[1] * (new.ndim - 1)), new, old)


def _in_parts(sampler: Sampler, inputs: Inputs, work: Callable) -> tuple[Tensor, ...]:
    """``work(scored, part)`` for each batch of samples, its results put together."""
    done = []
    for part in torch.arange(len(inputs.prompts)).split(sampler.batch_size):
        phi, wanted = sampler.phi([inputs.prompts.captions[i] for i in part.tolist()]), inputs.wanted[part]

        def scored(noise: Tensor, phi=phi, wanted=wanted) -> tuple[Tensor, Tensor]:
            outputs = phi(noise)
            if inputs.encoder is None:
                return -(outputs - wanted).norm(dim=1), outputs  # minus the distance to the target
            return (inputs.encoder.images(outputs) * wanted).sum(1), outputs

        done.append(work(scored, part))
    return tuple(torch.cat(values) for values in zip(*done, strict=True))
