"""Image students at initialisation: the teacher's own network, unguided and in the student's few steps.

The gain or loss by a base loss or a term is read against it, and not against the teacher alone. Students of 2-D data
are initialised with random weights, so nothing is measured. Students that start after regression have a row of their
own instead, the variant `initialisation`.
"""

import pandas as pd

from gad.config import Recipe
from gad.diffusion.denoiser import NetworkDenoiser
from gad.evaluation.sensitivity.end_to_end import measure_end_to_end, summarise_end_to_end
from gad.metrics.statistics import bootstrap_mean
from gad.models.model import Model

MEANS = ("pointwise_mse", "jvp_cosine", "jvp_mse", "spectral_kl")  # over noises; the others are ratios and medians


def initialisation_metrics(teacher: Model, settings: Recipe) -> dict[str, dict]:
    """``{kind of direction: {"at_initialisation": {metric: estimate}}}``, as the metrics of stage `sensitivity` have
    it.

    At the recipe's own analysis noises and drawn directions. There is one such network, so intervals are for other
    noises (bootstrap), ``n`` counts noises, and a number without an interval is the sample's. Raises ValueError for a
    teacher that is no network, and for students that start after regression.
    """
    if settings.student.start == "regression":
        raise ValueError("students of this recipe start after regression: train the variant initialisation instead")
    if not isinstance(teacher.denoiser, NetworkDenoiser):
        raise ValueError("students of this teacher start from random weights: there is no start to measure")
    drawn = [kind for kind in settings.sensitivity.directions if kind != "singular"]
    section = settings.sensitivity.model_copy(update={"directions": drawn})
    settings = settings.model_copy(update={"sensitivity": section})
    rows = pd.concat(list(measure_end_to_end(teacher, [(INITIALISATION, 0, teacher)], settings)))
    found = {}
    for kind, group in rows.groupby("directions", sort=False):
        table = summarise_end_to_end(group).iloc[0].drop(["variant", "seed", "directions"])
        by_noise = group.groupby("noise")
        count = by_noise.ngroups
        metrics = {name: {"mean": float(value), "low": None, "high": None, "n": count} for name, value in table.items()}
        metrics |= {name: vars(bootstrap_mean(by_noise[name].mean())) for name in MEANS}
        found[kind] = {INITIALISATION: metrics}
    return found


INITIALISATION = "at_initialisation"  # instead of a variant: the network that students start from
