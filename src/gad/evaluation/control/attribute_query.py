"""Low-level requests to NoiseQuery: retrieve noises by the value of an attribute, measure it in a model's images."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from gad.metrics.image_attributes import low_level_attributes

EXTREME = 1 / 3  # of the requests at either end


@dataclass(frozen=True)
class Requests:
    """Requested values of attributes, ``R`` in all: row by row the attribute, its quantile among the entries, the value
    there, and the entry whose own value is nearest."""

    table: pd.DataFrame
    entries: Tensor  # [R]


def make_attribute_requests(attributes: dict[str, Tensor], count: int) -> Requests:
    """For each attribute, ``[N]`` values by name, ``count`` values at its quantiles (k + 1/2) / count."""
    tables = []
    for name, values in attributes.items():
        quantiles = (np.arange(count) + 0.5) / count
        wanted = torch.from_numpy(np.quantile(values.numpy(), quantiles)).float()
        nearest = (values[None] - wanted[:, None]).abs().argmin(1)
        columns = {"attribute": name, "quantile": quantiles, "request": wanted.numpy(), "entry": nearest.numpy()}
        tables.append(pd.DataFrame(columns | {"spread": float(values.std(correction=0))}))
    table = pd.concat(tables, ignore_index=True)
    return Requests(table, torch.tensor(table["entry"].to_numpy()))


def measure_requested_attributes(requests: Requests, images: Tensor) -> Tensor:
    """The value in each image of the attribute that its row requests; ``images`` has an image per request, ``[R]``."""
    names = list(dict.fromkeys(requests.table["attribute"]))
    columns = torch.tensor([names.index(name) for name in requests.table["attribute"]])
    return low_level_attributes(images, names).gather(1, columns[:, None])[:, 0]


def request_rank_correlation(request, shown) -> float:
    """Spearman's rank correlation of requested and measured values, in [-1, 1]; 1 follows every request.

    0 where all images show the same value: a constant output follows no request.
    """
    from scipy.stats import spearmanr  # here, since it takes seconds

    if np.ptp(shown) == 0 or np.ptp(request) == 0:
        return 0.0
    return float(spearmanr(request, shown).statistic)


def request_extreme_shift(rows: pd.DataFrame) -> float:
    """How much more is shown for requests in the top third than for those in the bottom third, in standard deviations
    of the images behind the requests (whose own shift is about 2.2 for a normal attribute); 0 ignores the request."""
    spread = rows["spread"].iloc[0]
    if spread == 0:
        return 0.0
    top, bottom = rows["quantile"] > 1 - EXTREME, rows["quantile"] < EXTREME
    return float(rows.loc[top, "shown"].mean() - rows.loc[bottom, "shown"].mean()) / spread


def summarise_attribute_requests(rows: pd.DataFrame) -> dict[str, float]:
    """Per attribute, means over prompts of the rank correlation and the extreme shift; and both over all attributes."""
    found = {}
    for name, group in rows.groupby("attribute", sort=False):
        under = [part for _, part in group.groupby("prompt")]
        found[f"{name}_rank_correlation"] = float(
            np.mean([request_rank_correlation(p["request"], p["shown"]) for p in under])
        )
        found[f"{name}_shift"] = float(np.mean([request_extreme_shift(part) for part in under]))
    for kind in ("rank_correlation", "shift"):
        found[f"attribute_{kind}"] = float(np.mean([v for key, v in found.items() if key.endswith(kind)]))
    return found
