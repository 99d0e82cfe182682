"""NoiseQuery (Wang et al. 2025; the paper's Table 6): pick the initial noise by what the teacher makes of it.

The library's noises are described by the teacher's outputs; the retrieved noise goes to the student unchanged. A
student that has the teacher's noise-to-image map profits as much as the teacher does. Four noises are compared:

``none`` a fresh one, no retrieval · ``random`` any of the library · ``retrieved`` by the teacher's features · ``own``
by the features of the model's own outputs for the library's noises (for the teacher the same as retrieved).

A student of guided outputs under captions has never seen the empty prompt; where its own library should be at its best,
let the library show prompts (``describe: prompt``).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from gad.config import NoiseQueryConfig, Recipe
from gad.config.sample_ids import FRESH, task_sample_ids
from gad.data.emoji.caption_accuracy import caption_accuracy
from gad.data.emoji.detector import Detector, load_emoji_detector
from gad.data.swiss_roll import make_swiss_roll
from gad.diffusion.noise import draw_noise
from gad.evaluation.control.attribute_query import (
    Requests,
    make_attribute_requests,
    measure_requested_attributes,
    summarise_attribute_requests,
)
from gad.evaluation.control.noise_library import (
    Library,
    build_library,
    library_feature_names,
    open_library,
    retrieve_from_noise_library,
)
from gad.evaluation.control.prompts import Prompts, control_prompts
from gad.evaluation.control.task_output import TaskOutput, task_output_rows
from gad.metrics.clip_encoder import Encoder, clip_features_in_batches, load_clip_encoder
from gad.metrics.image_attributes import ATTRIBUTES, low_level_attributes
from gad.models.sampler import TEACHER, Sampler
from gad.models.weights_hash import weights_hash
from gad.runtime.cache import Result, ResultCache, at_once
from gad.runtime.devices import own_device
from gad.runtime.paths import project_path, stage_dir

TARGET_SEED = 5  # the Swiss roll's target points
EVALUATED = ("object_accuracy", "colour_accuracy", "count_accuracy")


@dataclass(frozen=True)
class Inputs:
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


def prepare_noise_query(teacher: Sampler, settings: Recipe, cached: ResultCache = at_once) -> Inputs:
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
        return Inputs(library, captions, Prompts([""] * count), make_swiss_roll(count, TARGET_SEED), *noises)
    prompts = control_prompts(count, config.prompts, captions=settings.noise_pairs.captions)
    detector = None if prompts.scenes is None else load_emoji_detector()
    requests = tuple(
        _requests(teacher, library, caption, config, partial(cached.batches, f"attributes_{number}"))
        for number, caption in enumerate(prompts.captions[: config.attribute_prompts])
    )
    return Inputs(library, captions, prompts, encoder.texts(prompts.captions), *noises, encoder, detector, requests)


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


def run_noise_query(sampler: Sampler, inputs: Inputs, config: NoiseQueryConfig) -> TaskOutput:
    """A row per prompt and kind of noise; for images also one per low-level request and prompt."""
    library, count = inputs.library, len(inputs.prompts)
    choices = {
        "random": inputs.random,
        "retrieved": retrieve_from_noise_library(library.features, inputs.queries, metric=inputs.metric),
    }
    choices["own"] = choices["retrieved"] if sampler.name == TEACHER else _own(sampler, inputs)
    pairs = [(prompt, entry) for index in choices.values() for prompt, entry in enumerate(index.tolist())]
    pairs += [(prompt, entry) for prompt, asked in enumerate(inputs.requests) for entry in asked.entries.tolist()]
    outputs = torch.cat([sampler.generate(inputs.fresh, inputs.prompts.captions), _outputs(sampler, inputs, pairs)])
    tables, semantic = [], count * (1 + len(choices))
    for number, (name, entries) in enumerate({"none": torch.full((count,), -1), **choices}.items()):
        part = outputs[number * count : (number + 1) * count]
        labels = {"prompt": list(range(count)), "caption": inputs.prompts.captions, "noise": name, "entry": entries}
        tables.append(task_output_rows(**labels, kind="semantic", **_scores(part, inputs)))
    for prompt, asked in enumerate(inputs.requests):
        first = semantic + prompt * len(asked.entries)
        shown = measure_requested_attributes(asked, outputs[first : first + len(asked.entries)]).tolist()
        labels = {"prompt": prompt, "caption": inputs.prompts.captions[prompt], "noise": "retrieved"}
        tables.append(asked.table.assign(**labels, kind="attribute", shown=shown))
    return TaskOutput(pd.concat(tables, ignore_index=True), outputs)


def summarise_noise_query(rows: pd.DataFrame) -> dict[str, float]:
    """``query_<score>_<noise>``: means over the queries; for images also the low-level requests' numbers."""
    semantic = rows[rows["kind"] == "semantic"]
    names = [name for name in ("target_distance", "clip_score", *EVALUATED) if name in rows]
    means = semantic.groupby("noise", sort=False)[names].mean()
    found = {f"query_{name}_{noise}": float(means.loc[noise, name]) for noise in means.index for name in names}
    asked = rows[rows["kind"] == "attribute"]
    return found | (summarise_attribute_requests(asked) if len(asked) else {})


def _requests(teacher: Sampler, library: Library, caption: str, config: NoiseQueryConfig, deal: Callable) -> Requests:
    """Low-level requests under a prompt, by the teacher's images of that prompt or by the library's own."""
    if config.attributes_of == "library":
        return make_attribute_requests(library.attributes, config.requests)

    def some(part: Tensor) -> Result:
        return {"values": low_level_attributes(teacher.generate(library.noise(part), [caption] * len(part)))}

    count = min(config.attribute_entries, len(library))
    shown = torch.cat([result["values"] for result in deal(count, teacher.batch_size, some)])
    return make_attribute_requests(dict(zip(ATTRIBUTES, shown.unbind(1), strict=True)), config.requests)


def _own(sampler: Sampler, inputs: Inputs) -> Tensor:
    """What the model would retrieve, were the library its own."""
    found = []
    for part in torch.arange(len(inputs.library)).split(sampler.batch_size):  # no more images than that are held
        captions = [inputs.library_captions[i] for i in part.tolist()]
        outputs = sampler.generate(inputs.library.noise(part), captions)
        found.append(outputs if inputs.encoder is None else clip_features_in_batches(inputs.encoder, outputs))
    return retrieve_from_noise_library(torch.cat(found), inputs.queries, metric=inputs.metric)


def _outputs(sampler: Sampler, inputs: Inputs, pairs: Sequence[tuple[int, int]]) -> Tensor:
    """What the model makes of (prompt, entry) pairs; a repeated pair is generated once."""
    unique = list(dict.fromkeys(pairs))
    place = {pair: i for i, pair in enumerate(unique)}
    noise = inputs.library.noise(torch.tensor([entry for _, entry in unique]))
    outputs = sampler.generate(noise, [inputs.prompts.captions[prompt] for prompt, _ in unique])
    return outputs[torch.tensor([place[pair] for pair in pairs])]


def _scores(outputs: Tensor, inputs: Inputs) -> dict[str, Tensor]:
    """How near points come to their targets, or how well images fit their prompts."""
    if inputs.encoder is None:
        return {"target_distance": (outputs - inputs.queries).norm(dim=1)}
    scores = {"clip_score": (clip_features_in_batches(inputs.encoder, outputs) * inputs.queries).sum(1)}
    if inputs.detector is not None and inputs.prompts.scenes is not None:
        accuracy = caption_accuracy(inputs.detector, outputs, inputs.prompts.scenes)
        scores |= {name: accuracy[name] for name in EVALUATED}
    return scores
