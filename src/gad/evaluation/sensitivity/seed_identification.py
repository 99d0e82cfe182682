"""Can a classifier tell from an image which noise it came from? The paper's Table 2.

S noises are shown under P prompts each. A classifier learns, on images of some prompts, which of the S noises made an
image, and is tested on images of others: *seed identification* where it learned on the same model, *teacher-trained*
when it learned on the teacher. Chance is 1 / S. The learning curve shows whether more images would help the classifier:
where it still climbs, a low number says little about the model.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from gad.config import PromptSource, Recipe, SeedsConfig
from gad.config.sample_ids import SEEDS, task_sample_ids
from gad.data.prompts import different_prompts
from gad.diffusion.noise import draw_noise
from gad.evaluation.jobs import Job
from gad.evaluation.per_model import measured_per_model, per_model_section_key
from gad.evaluation.sensitivity.seed_classifiers import Classifier, Predict, build_classifier
from gad.models.model import Model
from gad.models.sampler import TEACHER, NamedStudent, Sampler
from gad.runtime.cache import Parts, Result, ResultCache, batch_parts
from gad.runtime.devices import own_device


@dataclass(frozen=True)
class SeedImages:
    """Prepared images of one model, ``[P, S, ...]``: prompts by noises, split by prompt."""

    train: Tensor
    val: Tensor
    test: Tensor


def prepare_seed_images(images: Tensor, prepare: Callable[[Tensor], Tensor]) -> Tensor:
    """Images ``[P, S, 3, H, W]`` in [-1, 1] as the classifier wants them, ``[P, S, ...]``.

    Raises ValueError, in one line, for a single seed or images that are not finite.
    """
    if images.shape[1] < 2:
        raise ValueError(f"a seed classifier needs images of at least 2 seeds, got {images.shape[1]}: one class only")
    if not images.isfinite().all():
        bad = (~images.isfinite()).flatten(2).any(2).nonzero()[0].tolist()
        raise ValueError(f"image of prompt {bad[0]}, seed {bad[1]} is not finite; the model that made it is broken")
    return prepare(images.flatten(0, 1)).unflatten(0, images.shape[:2])


def split_seed_images(ready: Tensor, config: SeedsConfig) -> SeedImages:
    """The first prompts to train on, the next ones to validate, the last to test: no prompt is in two splits.

    Raises ValueError for fewer prompts than the three splits need.
    """
    sizes = [config.train_prompts, config.val_prompts, config.test_prompts]
    if len(ready) < sum(sizes):
        raise ValueError(
            f"{len(ready)} prompts are too few for {sizes[0]} to train, {sizes[1]} to validate, {sizes[2]} to test"
        )
    return SeedImages(*ready[: sum(sizes)].split(sizes))


def _flat(part: Tensor) -> tuple[Tensor, Tensor]:
    """Images and labels of a part ``[P, S, ...]``: the label is the seed's number."""
    return part.flatten(0, 1), torch.arange(part.shape[1]).repeat(len(part))


def _learn(images: SeedImages, classifier: Classifier, *, num_prompts: int) -> Predict:
    """A predictor learned on the first ``num_prompts`` training prompts, chosen on the validation prompts."""
    return classifier.learn(*_flat(images.train[:num_prompts]), *_flat(images.val))


def _predictions(predict: Predict, images: SeedImages) -> pd.DataFrame:
    """A row per test image: ``prompt``, ``noise`` (the true seed number), ``predicted`` and ``right``."""
    ready, labels = _flat(images.test)
    predicted = predict(ready)
    count = images.test.shape[1]
    rows = {"prompt": [i // count for i in range(len(labels))], "noise": labels.tolist()}
    return pd.DataFrame(rows | {"predicted": predicted.tolist(), "right": (predicted == labels).tolist()})


def seed_curve_sizes(config: SeedsConfig) -> list[int]:
    """Numbers of training prompts of the learning curve, the whole set last."""
    shares = sorted({max(1, round(share * config.train_prompts)) for share in config.curve})
    return [size for size in shares if size < config.train_prompts] + [config.train_prompts]


def identify_seeds(
    images: SeedImages, classifier: Classifier, config: SeedsConfig, *, teacher: dict[int, Predict] | None
):
    """Rows of one model and its own predictors by training size.

    A row per test image, training size and ``trained_on``: ``self``, and ``teacher`` when its predictors are given.
    """
    own = {size: _learn(images, classifier, num_prompts=size) for size in seed_curve_sizes(config)}
    sources = {"self": own} | ({} if teacher is None else {"teacher": teacher})
    rows = [
        _predictions(predict, images).assign(trained_on=name, train_prompts=size)
        for name, predictors in sources.items()
        for size, predict in predictors.items()
    ]
    return pd.concat(rows, ignore_index=True), own


def _seed_images(sampler: Sampler, classifier: Classifier, config: SeedsConfig, source: PromptSource = None) -> Parts:
    """How the images of the recipe's noises under its prompts are made, a few prompts at a time, for the classifier."""
    noise = draw_noise(task_sample_ids(SEEDS, config.num_seeds), sampler.model.latent_shape, seed=config.seed)
    prompts = different_prompts(SEEDS, config.num_prompts, source)
    per_part = max(1, config.batch_size // config.num_seeds)

    def some(part: Tensor) -> Result:
        here = [prompts[i] for i in part.tolist()]
        repeated = [prompt for prompt in here for _ in range(config.num_seeds)]
        images = sampler.generate(noise.repeat(len(here), 1, 1, 1), repeated)
        return {"images": prepare_seed_images(images.unflatten(0, (len(here), config.num_seeds)), classifier.prepare)}

    return batch_parts(f"images_{config.batch_size}", len(prompts), per_part, some)


def _split_images(parts: Sequence[Result], config: SeedsConfig) -> SeedImages:
    """What the calls of :func:`_seed_images` have made, split by prompt."""
    return split_seed_images(torch.cat([part["images"] for part in parts]), config)


@dataclass(frozen=True)
class SeedReference:
    """The classifier, and what it makes of the teacher's images: rows, and predictors by training size."""

    classifier: Classifier
    rows: pd.DataFrame
    predictors: dict[int, Predict]


def seed_identification_evaluation(teacher: Sampler, settings: Recipe) -> Job:
    """Each model's rows of :func:`identify_seeds`."""
    config, device = settings.sensitivity.seeds, own_device(settings.sensitivity.device)
    assert config is not None

    def images_of(sampler: Sampler, classifier: Classifier) -> Parts:
        return _seed_images(
            replace(sampler, batch_size=config.batch_size), classifier, config, settings.noise_pairs.prompt_source
        )

    def prepare(cached: ResultCache) -> SeedReference:
        classifier = build_classifier(config, device=device)
        images = _split_images(cached.every(images_of(teacher, classifier)), config)
        return SeedReference(classifier, *identify_seeds(images, classifier, config, teacher=None))

    def parts(sampler: Sampler, of_teacher: SeedReference) -> Parts:
        return {} if sampler.name == TEACHER else images_of(sampler, of_teacher.classifier)

    def run(sampler: Sampler, of_teacher: SeedReference, made: Sequence[Result]) -> Result:
        if sampler.name == TEACHER:
            return {"rows": of_teacher.rows}
        images, classifier = _split_images(made, config), of_teacher.classifier
        return {"rows": identify_seeds(images, classifier, config, teacher=of_teacher.predictors)[0]}

    return Job("seeds", partial(per_model_section_key, "seeds", teacher, settings), prepare, run, parts)


def measure_seeds(
    teacher: Model, students: Iterable[NamedStudent], settings: Recipe, *, cache_dir: Path | None = None
) -> Iterator[pd.DataFrame]:
    """Yield each model's rows of :func:`identify_seeds`, the teacher's first.

    ``cache_dir`` as in :func:`measured_per_model`.
    """
    yield from (
        found["rows"]
        for found in measured_per_model(seed_identification_evaluation, teacher, students, settings, cache_dir)
    )
