"""NoiseQuery (Wang et al. 2025; the paper's Table 6): pick the initial noise by what the teacher makes of it.

The library's noises are described by the teacher's outputs; the retrieved noise goes to the student unchanged. A
student that has the teacher's noise-to-image map profits as much as the teacher does. Four noises are compared:

``none`` a fresh one, no retrieval · ``random`` any of the library · ``retrieved`` by the teacher's features · ``own``
by the features of the model's own outputs for the library's noises (for the teacher the same as retrieved).
"""

from collections.abc import Sequence

import pandas as pd
import torch
from torch import Tensor

from gad.config import NoiseQueryConfig
from gad.data.emoji.caption_accuracy import caption_accuracy
from gad.evaluation.control.attribute_query import measure_requested_attributes, summarise_attribute_requests
from gad.evaluation.control.noise_library import retrieve_from_noise_library
from gad.evaluation.control.noise_query_inputs import NoiseQueryInputs
from gad.evaluation.control.task_output import TaskOutput, task_output_rows
from gad.metrics.clip_encoder import clip_features_in_batches
from gad.models.sampler import TEACHER, Sampler

EVALUATED = ("object_accuracy", "colour_accuracy", "count_accuracy")


def run_noise_query(sampler: Sampler, inputs: NoiseQueryInputs, config: NoiseQueryConfig) -> TaskOutput:
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


def _own(sampler: Sampler, inputs: NoiseQueryInputs) -> Tensor:
    """What the model would retrieve, were the library its own."""
    found = []
    for part in torch.arange(len(inputs.library)).split(sampler.batch_size):  # no more images than that are held
        captions = [inputs.library_captions[i] for i in part.tolist()]
        outputs = sampler.generate(inputs.library.noise(part), captions)
        found.append(outputs if inputs.encoder is None else clip_features_in_batches(inputs.encoder, outputs))
    return retrieve_from_noise_library(torch.cat(found), inputs.queries, metric=inputs.metric)


def _outputs(sampler: Sampler, inputs: NoiseQueryInputs, pairs: Sequence[tuple[int, int]]) -> Tensor:
    """What the model makes of (prompt, entry) pairs; a repeated pair is generated once."""
    unique = list(dict.fromkeys(pairs))
    place = {pair: i for i, pair in enumerate(unique)}
    noise = inputs.library.noise(torch.tensor([entry for _, entry in unique]))
    outputs = sampler.generate(noise, [inputs.prompts.captions[prompt] for prompt, _ in unique])
    return outputs[torch.tensor([place[pair] for pair in pairs])]


def _scores(outputs: Tensor, inputs: NoiseQueryInputs) -> dict[str, Tensor]:
    """How near points come to their targets, or how well images fit their prompts."""
    if inputs.encoder is None:
        return {"target_distance": (outputs - inputs.queries).norm(dim=1)}
    scores = {"clip_score": (clip_features_in_batches(inputs.encoder, outputs) * inputs.queries).sum(1)}
    if inputs.detector is not None and inputs.prompts.scenes is not None:
        accuracy = caption_accuracy(inputs.detector, outputs, inputs.prompts.scenes)
        scores |= {name: accuracy[name] for name in EVALUATED}
    return scores
