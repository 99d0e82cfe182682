"""Seeds, fidelity and sister properties of every model in turn, kept model by model (:mod:`gad.parts`).

So a killed stage goes on from the models that are done, and several processes may have done them ahead.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pandas as pd

from gad.config import Recipe
from gad.config.sample_ids import SISTER, ids_of
from gad.data.prompts import prompt_of
from gad.diffusion.noise import draw_noise
from gad.metrics.clip_score import Score, load_scores
from gad.metrics.image_features import FeaturesOf, load_features
from gad.metrics.set_distances import set_distances
from gad.models.external_sampler import WholeMap
from gad.models.model import Model
from gad.models.sampler import TEACHER, Actor, NamedStudent, everyone
from gad.models.weights_hash import identity_of
from gad.parts import Job, files_in, make_ahead, results
from gad.runtime.cache import Keep, Result
from gad.runtime.devices import own_device
from gad.runtime.fingerprint import code_hash, fingerprint
from gad.runtime.paths import EMOJI
from gad.sensitivity.pictures import data_features, scored, seed_images, split_images, whole_set
from gad.sensitivity.seed_classifiers import build_classifier
from gad.sensitivity.seed_identifiability import Classifier, Predict, identify
from gad.sensitivity.sister import inversion_rows, negative_pairs, negative_rows

Table = tuple[pd.DataFrame, pd.DataFrame]


def owner_of(name: str, teacher: Actor, settings: Recipe) -> str:
    """A fingerprint of what decides the answers to a part of the stage, beside the model that is asked."""
    config, prompts = settings.sensitivity, settings.noise_pairs.prompts
    # a batch's size changes no result beyond rounding, but for a classifier that learns by batches
    section = getattr(config, name).model_dump(exclude=set() if name == "seeds" else {"batch_size"})
    section |= {"judges": config.fidelity.scores if config.fidelity else {}, "world": settings.teacher.world}
    section["judges"] = {key: score.model_dump() for key, score in section["judges"].items()}
    section["captions"] = prompts.model_dump() if prompts else None
    by = (identity_of(teacher.model), teacher.num_steps, teacher.guidance_scale)
    judges = [folder for folder in [EMOJI / "judges"] if folder.exists()]
    return fingerprint(name, section, *by, *files_in(section), *judges, code_hash("sensitivity"))


@dataclass(frozen=True)
class SeedReference:
    """The classifier, and what it makes of the teacher's images: rows, and predictors by training size."""

    classifier: Classifier
    rows: pd.DataFrame
    predictors: dict[int, Predict]


def seeds_job(teacher: Actor, settings: Recipe) -> Job:
    """Each model's rows of :func:`gad.sensitivity.seed_identifiability.identify`."""
    config, device = settings.sensitivity.seeds, own_device(settings.sensitivity.device)

    def images_of(actor: Actor, classifier: Classifier) -> list[Callable[[], Result]]:
        return seed_images(replace(actor, batch_size=config.batch_size), classifier, settings)

    def prepare(keep: Keep) -> SeedReference:
        classifier = build_classifier(config, device=device)
        images = split_images(keep.each(f"images_{config.batch_size}", images_of(teacher, classifier)), config)
        return SeedReference(classifier, *identify(images, classifier, config, teacher=None))

    def run(actor: Actor, of_teacher: SeedReference) -> Result:
        if actor.name == TEACHER:
            return {"rows": of_teacher.rows}
        images = split_images([make() for make in images_of(actor, of_teacher.classifier)], config)
        return {"rows": identify(images, of_teacher.classifier, config, teacher=of_teacher.predictors)[0]}

    return Job("seeds", partial(owner_of, "seeds", teacher, settings), prepare, run)


def fidelity_job(teacher: Actor, settings: Recipe) -> Job:
    """A row per image with its scores, and a row per reference with its distances."""
    config, device = settings.sensitivity.fidelity, own_device(settings.sensitivity.device)

    def shown(actor: Actor, scores: dict[str, Score], features: FeaturesOf) -> list[Callable[[], Result]]:
        return scored(replace(actor, batch_size=config.batch_size), scores, features, settings)

    def prepare(keep: Keep) -> tuple[dict[str, Score], FeaturesOf, Result]:
        scores = load_scores(config.scores, device=device)
        features = load_features(config.features, batch_size=config.batch_size, device=device)
        own = whole_set(keep.each(f"teacher_{config.batch_size}", shown(teacher, scores, features)))
        reference = {"rows": own["rows"], "teacher": own["features"]} | keep("data", lambda: real(features))
        return scores, features, reference

    def real(features: FeaturesOf) -> Result:
        found = data_features(settings, features, teacher.model.image_side)
        return {} if found is None else {"data": found}

    def run(actor: Actor, inputs: tuple[dict[str, Score], FeaturesOf, Result]) -> Result:
        scores, features, reference = inputs
        own = actor.name == TEACHER
        answer = {} if own else whole_set([make() for make in shown(actor, scores, features)])
        rows, found = answer.get("rows", reference["rows"]), answer.get("features", reference["teacher"])
        distances = [
            {"reference": name, "features": config.features}
            | set_distances(found, reference[name], axes=config.axes, neighbours=config.neighbours)
            for name in ("teacher", "data")
            if name in reference and name != actor.name
        ]
        return {"rows": rows, "distances": pd.DataFrame(distances)}

    return Job("fidelity", partial(owner_of, "fidelity", teacher, settings), prepare, run)


def sister_job(teacher: Actor, settings: Recipe) -> Job:
    """A model's rows of inversion and of negative prompts (empty where the world has no text)."""
    config, fidelity = settings.sensitivity.sister, settings.sensitivity.fidelity

    def prepare(keep: Keep) -> Score | None:
        if teacher.model.pipeline is None:
            return None
        device = own_device(settings.sensitivity.device)
        return next(iter(load_scores(fidelity.scores if fidelity else {}, device=device).values()))

    def run(actor: Actor, score: Score | None) -> Result:
        model, steps, ids = actor.model, actor.num_steps, ids_of(SISTER, config.inversion_samples)
        noise, prompts = draw_noise(ids, model.latent_shape, seed=config.seed), settings.noise_pairs.prompts
        denoise = model.guided(actor.guidance_scale)
        inverted = inversion_rows(model, denoise, prompt_of(ids, prompts), noise, config, num_steps=steps)
        negative = pd.DataFrame()
        if score is not None and not isinstance(model.denoiser, WholeMap):
            asked = negative_pairs(config, prompts)
            negative = negative_rows(model, denoise, asked, score, config, num_steps=steps)
        return {"inversion": inverted, "negative": negative}

    return Job("sister", partial(owner_of, "sister", teacher, settings), prepare, run)


JOBS = {"seeds": seeds_job, "fidelity": fidelity_job, "sister": sister_job}


def measured(
    job_of: Callable[[Actor, Recipe], Job],
    teacher: Model,
    students: Iterable[NamedStudent],
    settings: Recipe,
    parts: Path | None,
) -> Iterator[Result]:
    """Yield each model's tables of a job, the teacher's first, with its variant and seed."""
    models = everyone(teacher, students, settings)
    for _, actor, found in results([job_of(models[0], settings)], models, parts):
        yield {key: rows.assign(variant=actor.name, seed=actor.seed) for key, rows in found.items()}


def measure_seeds(
    teacher: Model, students: Iterable[NamedStudent], settings: Recipe, *, parts: Path | None = None
) -> Iterator[pd.DataFrame]:
    """Yield each model's rows of seeds told from images, the teacher's first.

    In the folder ``parts``, where it is given, what is done is kept, and what lies there is not done again.
    """
    yield from (found["rows"] for found in measured(seeds_job, teacher, students, settings, parts))


def measure_fidelity(
    teacher: Model, students: Iterable[NamedStudent], settings: Recipe, *, parts: Path | None = None
) -> Iterator[Table]:
    """Yield, per model, a row per image with its scores, and a row per reference with its distances.

    References are ``teacher`` and, where there is any, ``data``. ``parts`` as in :func:`measure_seeds`.
    """
    yield from ((f["rows"], f["distances"]) for f in measured(fidelity_job, teacher, students, settings, parts))


def measure_sister(
    teacher: Model, students: Iterable[NamedStudent], settings: Recipe, *, parts: Path | None = None
) -> Iterator[Table]:
    """Yield, per model, its rows of inversion and of negative prompts. ``parts`` as in :func:`measure_seeds`."""
    yield from ((f["inversion"], f["negative"]) for f in measured(sister_job, teacher, students, settings, parts))


def precompute_jobs(
    teacher: Model, students: Iterable[NamedStudent], settings: Recipe, *, parts: Path
) -> Iterator[str]:
    """Do this process's share of these parts of the stage, keep it in ``parts``, and yield a line for each."""
    models = everyone(teacher, students, settings)
    jobs = [job(models[0], settings) for name, job in JOBS.items() if getattr(settings.sensitivity, name)]
    yield from make_ahead(jobs, models, parts)
