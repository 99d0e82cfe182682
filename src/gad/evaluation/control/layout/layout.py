"""Layout control: does an object appear where the noise was optimised to put it? The paper's Table 5.

BoxDiff's energy on the cross-attention of the model's first steps is lowered in the initial noise only; the plain
sampler does the rest. Three noises a prompt: random, optimised with the model's own attention, and the teacher's
optimised noise handed to the model.
"""

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from gad.config.layout import LayoutConfig
from gad.config.recipe import Recipe
from gad.config.sample_ids import LAYOUT, task_sample_ids
from gad.data.boxes import Detection, GroundTruth, best_box_overlap, check_box_in_image
from gad.data.emoji.detector import detect_emojis, load_emoji_detector
from gad.diffusion.noise import draw_noise
from gad.evaluation.control.layout.layout_prompt import LayoutPrompt
from gad.evaluation.control.layout.prompts import layout_prompts
from gad.evaluation.control.layout.steering import measure_steering_energy, steer
from gad.evaluation.control.task_output import TaskOutput
from gad.metrics.average_precision import average_precision
from gad.metrics.clip_encoder import clip_features_in_batches, load_clip_encoder
from gad.metrics.detector_loading import load_hub_detector, missing_detector_labels
from gad.models.sampler import TEACHER, Sampler
from gad.runtime.cache import Result, ResultCache, at_once
from gad.runtime.devices import own_device

LOWEST_SCORE = 0.05  # of a detection; average precision ranks weak ones last
NOISES = ("random", "optimised", "teacher")

Detect = Callable[[Tensor], list[list[Detection]]]
ClipScore = Callable[[Tensor, list[str]], Tensor]


@dataclass(frozen=True)
class LayoutInputs:
    """Prompts and noises of all models, and the evaluators."""

    prompts: list[LayoutPrompt]
    noise: Tensor
    teacher_noise: Tensor  # optimised with the teacher's attention
    image_size: int  # pixels on a side
    detect: Detect
    clip_score: ClipScore | None  # None where there is no CLIP


def _detector(config: LayoutConfig, prompts: list[LayoutPrompt], device: torch.device | str = "cpu") -> Detect:
    """The dataset's detector, or the one that the recipe names: ValueError where it lacks a label for a noun."""
    if config.detector is None:
        dataset = load_emoji_detector()
        return lambda images: detect_emojis(dataset, images, threshold=LOWEST_SCORE)
    found = load_hub_detector(config.detector, device=device, masks=False)
    missing = missing_detector_labels(found, [thing.noun for prompt in prompts for thing in prompt.targets])
    if missing:
        raise ValueError(f"detector {config.detector} has no label for {', '.join(missing)}; name one that has")
    return found


def _clip_score(config: LayoutConfig, clip: str | None, device: torch.device | str = "cpu") -> ClipScore | None:
    """The cosine of the CLIP that ``control.clip`` names, else of the dataset's evaluator, which knows no other
    dataset.
    """
    if clip is None and config.detector is not None:
        return None
    encoder = load_clip_encoder(clip, device=device)
    return lambda images, captions: (clip_features_in_batches(encoder, images) * encoder.texts(captions)).sum(1)


def _image_size(sampler: Sampler) -> int:
    if sampler.model.pipeline is None:
        raise ValueError("layout control needs images and prompts, and this model has none")
    return sampler.model.image_side


def prepare_layout(teacher: Sampler, settings: Recipe, cached: ResultCache = at_once) -> LayoutInputs:
    """Prompts with boxes, noises, the teacher's optimised noises and the evaluators; shared by all models.

    Raises ValueError, in one line, for a box outside the image or without area, a noun that is not in its prompt or
    that the detector has no label for, and a teacher without cross-attention.
    """
    config, size = settings.control.layout, _image_size(teacher)
    assert config is not None
    prompts = layout_prompts(config, size, settings.noise_pairs.captions)
    for prompt in prompts:
        for thing in prompt.targets:
            check_box_in_image(thing.box, size, f"box of {thing.noun!r} in {prompt.caption!r}")
    device = own_device(settings.control.device)
    evaluators = _detector(config, prompts, device), _clip_score(config, settings.control.clip, device)
    noise = draw_noise(
        task_sample_ids(LAYOUT, config.first_prompt + len(prompts))[config.first_prompt :],
        teacher.model.latent_shape,
        seed=config.seed,
    )

    def some(part: Tensor) -> Result:
        return {"noise": steer(teacher, [prompts[i] for i in part.tolist()], noise[part], config, size)}

    moved = torch.cat([r["noise"] for r in cached.batches("steered", len(noise), config.batch_size, some)])
    return LayoutInputs(prompts, noise, moved, size, *evaluators)


def run_layout(sampler: Sampler, inputs: LayoutInputs, config: LayoutConfig) -> TaskOutput:
    """A row per prompt and noise, and the images ``[3 B, 3, H, W]`` in the same order.

    Boxes are lists of left, top, right, bottom in pixels; the energies are by the sampler's own attention. Where the
    teacher's attention is configured, the optimised noise is the teacher's.
    """
    prompts, size = inputs.prompts, inputs.image_size
    if config.attention == "teacher" or sampler.name == TEACHER:
        optimised = inputs.teacher_noise
    else:
        optimised = steer(sampler, prompts, inputs.noise, config, size)
    tables: list[pd.DataFrame] = []
    outputs: list[Tensor] = []
    captions = [prompt.caption for prompt in prompts]
    for name, noise in zip(NOISES, (inputs.noise, optimised, inputs.teacher_noise), strict=True):
        if name == "teacher" and torch.equal(noise, optimised):  # the teacher itself
            images, rows = outputs[-1], tables[-1].drop(columns=["noise"])
        else:
            images = sampler.generate(noise, captions)
            rows = _evaluated(inputs, images).assign(
                energy=measure_steering_energy(sampler, prompts, noise, config, size).tolist()
            )
        tables.append(rows.assign(noise=name))
        outputs.append(images)
    return TaskOutput(pd.concat(tables, ignore_index=True), torch.cat(outputs))


def _evaluated(inputs: LayoutInputs, images: Tensor) -> pd.DataFrame:
    """A row per prompt: targets, detections, and how well both agree."""
    found, captions = inputs.detect(images), [prompt.caption for prompt in inputs.prompts]
    scores = [float("nan")] * len(images) if inputs.clip_score is None else inputs.clip_score(images, captions).tolist()
    rows = []
    for number, (prompt, seen) in enumerate(zip(inputs.prompts, found, strict=True)):
        rows.append(
            {
                "prompt": number,
                "caption": prompt.caption,
                "target_nouns": [thing.noun for thing in prompt.targets],
                "target_boxes": [[float(side) for side in thing.box] for thing in prompt.targets],
                "found_nouns": [one.noun for one in seen],
                "found_boxes": [[float(side) for side in one.box] for one in seen],
                "found_scores": [float(one.score) for one in seen],
                "overlap": best_box_overlap(seen, prompt.targets),
                "clip_score": scores[number],
            }
        )
    return pd.DataFrame(rows)


def _precision(rows: pd.DataFrame) -> dict[str, float]:
    """AP and AP50 of a table's rows together, from the detections that they hold."""
    found = [
        [
            Detection(noun, score, tuple(box), "")
            for noun, score, box in zip(row.found_nouns, row.found_scores, row.found_boxes, strict=True)
        ]
        for row in rows.itertuples()
    ]
    targets = [
        [GroundTruth(noun, tuple(box)) for noun, box in zip(row.target_nouns, row.target_boxes, strict=True)]
        for row in rows.itertuples()
    ]
    return average_precision(found, targets)


def summarise_layout(rows: pd.DataFrame) -> dict[str, float]:
    """The model's numbers for each noise, named ``<number>_<noise>``.

    ap, ap50: COCO's, in [0, 1], over the whole sample; overlap: mean intersection over union of the best matching
    detection; clip_score; energy: of that noise by the model's own attention, lower is better. Rows may come back from
    Parquet.
    """
    numbers: dict[str, float] = {}
    for name in NOISES:
        chosen = rows[rows["noise"] == name]
        means = chosen[["overlap", "clip_score", "energy"]].mean().to_dict()
        numbers |= {f"{key}_{name}": float(value) for key, value in (_precision(chosen) | means).items()}
    return numbers
