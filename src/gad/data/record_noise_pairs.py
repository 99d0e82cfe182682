"""The record of the noise-pair stage."""

from gad.data.noise_pairs import NoisePairs
from gad.models.stage import Stage
from gad.runtime.files import write_json
from gad.runtime.paths import metrics_file


def record_noise_pairs(stage: Stage, pairs: NoisePairs) -> dict[str, float]:
    """Write ``data/<recipe>/metrics/noise_pairs.json`` and return it: how many there are, and E[mean((J_T v)²)]."""
    per_noise = 1 + 2 * pairs.config.directions_per_noise
    metrics = {"num_pairs": len(pairs), "num_trajectories": per_noise * len(pairs), "jvp_power": pairs.jvp_power()}
    write_json(metrics_file(stage.recipe, "noise_pairs"), metrics)
    return metrics
