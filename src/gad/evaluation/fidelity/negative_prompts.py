"""Negative prompts: does guidance away from a prompt drive it out of the image, for students as for the teacher?

A distilled map was never trained for it.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from gad.config import Captions, NegativePromptsConfig, PromptSource, Recipe
from gad.config.sample_ids import NEGATIVE_PROMPTS, task_sample_ids
from gad.data.emoji.scenes import Prompt
from gad.data.prompts import prompt_of, scene_prompt_of
from gad.diffusion.denoiser import Denoiser
from gad.diffusion.guidance import Guided
from gad.diffusion.noise import draw_noise
from gad.diffusion.sampling import sample
from gad.evaluation.jobs import Job
from gad.evaluation.per_model import measured_per_model, per_model_section_key
from gad.metrics.clip_score import Score, load_all_clip_scores
from gad.models.external_sampler import ExternalSampler
from gad.models.first_step import TeacherFirstStep
from gad.models.model import Model
from gad.models.sampler import NamedStudent, Sampler
from gad.runtime.cache import Result, ResultCache
from gad.runtime.devices import own_device

AT_ONCE = 8  # images that are decoded together


def negative_pairs(config: NegativePromptsConfig, source: PromptSource = None) -> list[tuple[int, str, str]]:
    """Sample id, prompt and negative prompt. Emoji: two-object captions, and their second object alone.

    So the negative prompt names what the plain image shows; with a fixed negative prompt that is left to chance.
    """
    if config.negative_prompt is not None:
        ids = task_sample_ids(NEGATIVE_PROMPTS, config.num_samples)
        return [(i, prompt, config.negative_prompt) for i, prompt in zip(ids, prompt_of(ids, source), strict=True)]
    captions: Captions = "split_by_words" if source == "split_by_words" else "all"
    found: list[tuple[int, str, str]] = []
    i = NEGATIVE_PROMPTS
    while len(found) < config.num_samples:
        prompt = scene_prompt_of(i, captions)
        if len(prompt.things) == 2:
            unwanted = Prompt(prompt.things[1:], 1, "and", prompt.background)
            found.append((i, prompt.caption, unwanted.caption))
        i += 1
    return found


@torch.no_grad()
def sample_against_negative_prompts(
    model: Model,
    noise: Tensor,
    prompts: list[str],
    negatives: list[str],
    config: NegativePromptsConfig,
    *,
    num_steps: int,
) -> Tensor:
    """x0 under guidance away from each sample's negative prompt. A student is guided by its own two predictions."""
    found = []
    for part in torch.arange(len(noise)).split(config.batch_size):
        against, wanted = (model.condition([words[i] for i in part.tolist()]) for words in (negatives, prompts))
        assert against is not None
        denoise = Guided(model.denoiser, against, config.guidance_scale)
        found.append(sample(denoise, noise[part], wanted, num_steps=num_steps)[-1])
    return torch.cat(found)


def negative_rows(
    model: Model,
    denoise: Denoiser,
    pairs: Sequence[tuple[int, str, str]],
    score: Score,
    config: NegativePromptsConfig,
    *,
    num_steps: int,
) -> pd.DataFrame:
    """A row per sample: how well the image fits the negative prompt and its own, without and with it.

    Without it is the image as ``denoise`` makes it, the model in its ordinary use: a student has its teacher's
    guidance in its weights, and guided once more by the empty prompt it would be another model. A shift is worth
    reading where ``prompt_score_without`` is intact.

    ``negative_shift`` = score(image, negative) without - with: higher, the more the unwanted leaves (0: no effect).
    ``prompt_shift`` = the same for the prompt: what is lost on the way. ``moved`` = mean squared change of the latent.
    """
    ids, prompts, negatives = (list(part) for part in zip(*pairs, strict=True))
    noise = draw_noise(ids, model.latent_shape, seed=config.seed)
    parts = torch.arange(len(noise)).split(config.batch_size)
    wanted = [model.condition([prompts[i] for i in part.tolist()]) for part in parts]
    with torch.no_grad():
        made = [sample(denoise, noise[i], c, num_steps=num_steps)[-1] for i, c in zip(parts, wanted, strict=True)]
    plain = torch.cat(made)
    turned = sample_against_negative_prompts(model, noise, prompts, negatives, config, num_steps=num_steps)
    before, after = (model.decode(latents, batch_size=AT_ONCE) for latents in (plain, turned))
    without, with_it = score(before, negatives), score(after, negatives)
    own = score(before, prompts)
    columns = {
        "negative_score_without": without,
        "negative_score_with": with_it,
        "prompt_score_without": own,
        "negative_shift": without - with_it,
        "prompt_shift": own - score(after, prompts),
        "moved": (turned - plain).square().flatten(1).mean(1),
    }
    rows = pd.DataFrame({name: column.tolist() for name, column in columns.items()})
    return rows.assign(sample=ids, prompt=prompts, negative=negatives)


def negative_prompts_evaluation(teacher: Sampler, settings: Recipe) -> Job:
    """Each model's rows of :func:`negative_rows`; none where the dataset has no text, or the model its own
    sampler or the teacher's first step, which is guided already."""
    config, fidelity = settings.sensitivity.negative_prompts, settings.sensitivity.fidelity
    assert config is not None

    def prepare(cached: ResultCache) -> Score | None:
        if teacher.model.pipeline is None:
            return None
        device = own_device(settings.sensitivity.device)
        return next(iter(load_all_clip_scores(fidelity.scores if fidelity else {}, device=device).values()))

    def run(sampler: Sampler, score: Score | None) -> Result:
        model = sampler.model
        if score is None or isinstance(model.denoiser, (ExternalSampler, TeacherFirstStep)):
            return {"rows": pd.DataFrame()}
        pairs, denoise = (
            negative_pairs(config, settings.noise_pairs.prompt_source),
            model.guided(sampler.guidance_scale),
        )
        return {"rows": negative_rows(model, denoise, pairs, score, config, num_steps=sampler.num_steps)}

    return Job("negative_prompts", partial(per_model_section_key, "negative_prompts", teacher, settings), prepare, run)


def measure_negative_prompts(
    teacher: Model, students: Iterable[NamedStudent], settings: Recipe, *, cache_dir: Path | None = None
) -> Iterator[pd.DataFrame]:
    """Yield each model's rows of :func:`negative_rows`; ``cache_dir`` as in :func:`measured_per_model`."""
    yield from (
        found["rows"]
        for found in measured_per_model(negative_prompts_evaluation, teacher, students, settings, cache_dir)
    )
