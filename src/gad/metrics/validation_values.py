"""What is read from a student's outputs at validation noises, beside its teacher's."""

import torch
from torch import Tensor

from gad.data.emoji.caption_accuracy import object_accuracy
from gad.data.emoji.detector import Detector, detect_emojis
from gad.data.swiss_roll import ARCS, arc_of, distance_to_roll
from gad.diffusion.jvp import Response
from gad.metrics.image_diversity import vendi_image_diversity
from gad.metrics.image_features import efflite0_features
from gad.metrics.response import jvp_cosine, response_value_mse
from gad.metrics.seed_retrieval import seed_retrieval
from gad.metrics.validation_numbers import Statistic
from gad.metrics.validation_set import Outputs, ValidationSet

Values = dict[str, tuple[Tensor, Statistic]]
"""By the metric's name its values ``[P, S]``, and what is made of them."""


def validation_agreement_values(ours: Outputs, theirs: Outputs, data: ValidationSet) -> Values:
    """How a student agrees with its teacher, ``[P, S]`` each.

    ``jvp_cosine_<kind>`` in [-1, 1], higher is better · ``gain_median_<kind>``, ‖J_S v‖ / ‖J_T v‖, 1 is best ·
    ``map_error_median``, 0 is best · ``seed_retrieval_accuracy`` in [0, 1], higher is better.
    """
    found: Values = {}
    for kind, own, other in zip(data.directions, ours.responses, theirs.responses, strict=True):
        found[f"jvp_cosine_{kind}"] = jvp_cosine(Response(ours.x0, own), Response(theirs.x0, other)), "mean"
        found[f"gain_median_{kind}"] = own.flatten(1).norm(dim=1) / other.flatten(1).norm(dim=1), "median"
    error = response_value_mse(Response(ours.x0, ours.x0), Response(theirs.x0, theirs.x0))
    shape = data.config.num_prompts, data.config.seeds_per_prompt
    retrieved = seed_retrieval(ours.decoded.unflatten(0, shape), theirs.decoded.unflatten(0, shape))
    found |= {"map_error_median": (error, "median"), "seed_retrieval_accuracy": (retrieved, "mean")}
    return {name: (values.view(shape), statistic) for name, (values, statistic) in found.items()}


def validation_output_values(decoded: Tensor, data: ValidationSet, detector: Detector | None) -> Values:
    """What outputs show by themselves, ``[P, S]``, or ``[P, 1]`` for a number of a prompt's outputs together.

    Images: ``vendi``, the effective number of different images of a prompt, from 1 to S, the teacher's is best ·
    ``object_accuracy`` in [0, 1], higher is better, where scenes are known. 2-D: ``mode_coverage``, the share of the
    Swiss roll's arcs that S outputs show, the teacher's is best · ``distance_to_roll``, 0 is best.
    """
    shape = data.config.num_prompts, data.config.seeds_per_prompt
    groups = decoded.unflatten(0, shape)
    if data.prompts is None:
        covered = torch.tensor([[arc_of(group).unique().numel() / ARCS] for group in groups])
        return {"mode_coverage": (covered, "mean"), "distance_to_roll": (distance_to_roll(decoded).view(shape), "mean")}
    different = torch.tensor([[vendi_image_diversity(efflite0_features(group))] for group in groups])
    found: Values = {"vendi": (different, "mean")}
    if detector is not None and data.prompts.scenes is not None:
        right = [
            [object_accuracy(scene, seen) for seen in detect_emojis(detector, group)]
            for scene, group in zip(data.prompts.scenes, groups, strict=True)
        ]
        found["object_accuracy"] = torch.tensor(right), "mean"
    return found
