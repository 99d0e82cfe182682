"""What NoiseQuery is asked on: the library of noises, its captions, the queries and the low-level requests.

A student of guided outputs under captions has never seen the empty prompt; where its own library should be at its best,
let the library show prompts (``describe: prompt``).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from gad.config import NoiseQueryConfig, Recipe
from gad.config.sample_ids import FRESH, task_sample_ids
from gad.data.emoji.detector import Detector, load_emoji_detector
from gad.data.swiss_roll import make_swiss_roll
from gad.diffusion.noise import draw_noise
from gad.evaluation.control.attribute_query import Requests, make_attribute_requests
from gad.evaluation.control.noise_library import Library, build_library, library_feature_names, open_library
from gad.evaluation.control.prompts import Prompts, control_prompts
from gad.metrics.clip_encoder import Encoder, load_clip_encoder
from gad.metrics.image_attributes import ATTRIBUTES, low_level_attributes
from gad.models.sampler import Sampler
from gad.models.weights_hash import weights_hash
from gad.runtime.cache import Result, ResultCache, at_once
from gad.runtime.devices import own_device
from gad.runtime.paths import project_path, stage_dir

TARGET_SEED = 5  # the Swiss roll's target points


@dataclass(frozen=True)
class NoiseQueryInputs:
    """The library, its captions, and the queries: text features ``[Q, D]`` or target points ``[Q, 2]``."""

    library: Library
    library_captions: list[str]
    prompts: Prompts
    queries: Tensor
    fresh: Tensor
    random: Tensor
    encoder: Encoder | None = None
    detector: Detector | None = None
    requests: tuple[Requests, ...] = ()  # low-level ones, for each of the first prompts

    @property
    def metric(self) -> str:
        return "euclidean" if self.encoder is None else "cosine"


def make_noise_query_library(teacher: Sampler, settings: Recipe, encoder: Encoder | None = None) -> None:
    """Build the recipe's own library, or go on with it; of several processes, all of which must call this, each makes
    its share. Nothing is done where the recipe names a finished one."""
    config, points = settings.control.noise_query, teacher.model.pipeline is None
    assert config is not None
    if config.library is not None:
        return
    if encoder is None and not points:
        encoder = load_clip_encoder(settings.control.clip, device=own_device(settings.control.device))
    asked = (
        noise_query_library_folder(settings),
        _maker(teacher, config),
        encoder,
        _library_captions(settings, points),
    )
    for _ in build_library(*asked, seed=settings.control.seed, about=config.describe):
        pass


def _maker(teacher: Sampler, config: NoiseQueryConfig) -> Sampler:
    """The teacher of the library: unguided under the empty prompt, which gives the guided output at half the cost."""
    return replace(teacher, guidance_scale=1.0) if config.describe == "unconditional" else teacher


def prepare_noise_query(teacher: Sampler, settings: Recipe, cached: ResultCache = at_once) -> NoiseQueryInputs:
    """Build the library, or go on with it, or open the one that the recipe names; draw the other noises."""
    config, seed = settings.control.noise_query, settings.control.seed
    assert config is not None
    count, points = config.num_queries, teacher.model.pipeline is None
    device = own_device(settings.control.device)
    encoder = None if points else load_clip_encoder(settings.control.clip, device=device)
    make_noise_query_library(teacher, settings, encoder)
    captions = _library_captions(settings, points)
    wanted: dict[str, str | int | float] = {
        "teacher": weights_hash(teacher.model),
        "features": library_feature_names(encoder, config.describe),
    }
    maker = _maker(teacher, config)
    wanted |= {"steps": maker.num_steps, "guidance_scale": maker.guidance_scale}
    library = open_library(noise_query_library_folder(settings), captions=captions, **wanted)
    generator = torch.Generator().manual_seed(seed)
    noises = (
        draw_noise(task_sample_ids(FRESH, count), teacher.model.latent_shape, seed=seed),
        torch.randint(len(library), (count,), generator=generator),
    )
    if encoder is None:
        return NoiseQueryInputs(library, captions, Prompts([""] * count), make_swiss_roll(count, TARGET_SEED), *noises)
    prompts = control_prompts(count, config.prompts, captions=settings.noise_pairs.captions)
    detector = None if prompts.scenes is None else load_emoji_detector()
    requests = tuple(
        _requests(teacher, library, caption, config, partial(cached.batches, f"attributes_{number}"))
        for number, caption in enumerate(prompts.captions[: config.attribute_prompts])
    )
    return NoiseQueryInputs(
        library, captions, prompts, encoder.texts(prompts.captions), *noises, encoder, detector, requests
    )


def noise_query_library_folder(settings: Recipe) -> Path:
    """A recipe's library folder: its own, or the one that it names."""
    assert settings.control.noise_query is not None
    named = settings.control.noise_query.library
    return stage_dir(settings.name, "noise_library") if named is None else project_path(named)


def _library_captions(settings: Recipe, points: bool) -> list[str]:
    """What each entry of the library shows: nothing in particular, or the dataset's (the file's) prompts in turn."""
    config = settings.control.noise_query
    assert config is not None
    if points or config.describe == "unconditional":
        return [""] * config.library_size
    of = settings.noise_pairs.captions
    captions = control_prompts(config.num_queries, config.prompts, captions=of).captions
    return [captions[i % len(captions)] for i in range(config.library_size)]


def _requests(teacher: Sampler, library: Library, caption: str, config: NoiseQueryConfig, deal: Callable) -> Requests:
    """Low-level requests under a prompt, by the teacher's images of that prompt or by the library's own."""
    if config.attributes_of == "library":
        return make_attribute_requests(library.attributes, config.requests)

    def some(part: Tensor) -> Result:
        return {"values": low_level_attributes(teacher.generate(library.noise(part), [caption] * len(part)))}

    count = min(config.attribute_entries, len(library))
    shown = torch.cat([result["values"] for result in deal(count, teacher.batch_size, some)])
    return make_attribute_requests(dict(zip(ATTRIBUTES, shown.unbind(1), strict=True)), config.requests)
