"""The JVP cosine that a difference measures, against its step h, for networks in float32, bfloat16 and float16.

A network's own rounding, about u |Phi|, enters both differences as independent noise of size u |Phi| / h. Where it is
larger than |J v| the cosine falls to 0 and the ratio of two such norms goes to 1, whatever the two maps are: the values
of the paper's Table 1 (.012 and .98) are of this kind, so they cannot be read as geometry.
"""

import copy
from collections.abc import Iterator, Sequence

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gad.diffusion.denoiser import Denoiser
from gad.diffusion.jvp import Map, exact_jvps_or_none
from gad.diffusion.maps import single_call_map
from gad.models.model import Model

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
STEPS = (1e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0)
NAMES = {torch.float32: "float32", torch.bfloat16: "bfloat16", torch.float16: "float16"}


def map_in_dtype(denoise: Denoiser, dtype: torch.dtype, x: Tensor, t: float, conditioning) -> tuple[Map, str]:
    """The map x_t -> x0 of one call with a network of ``dtype``, float32 in and out, and how it was made.

    ``computed``: the network runs in ``dtype``. ``rounded``: it does not run in ``dtype`` on this machine, or is a
    formula and no network, so its weights, input and output are rounded to ``dtype`` and it computes in float32;
    that rounds less than the real thing.
    """
    if dtype == torch.float32:
        return single_call_map(denoise, t, conditioning), "computed"
    if isinstance(denoise, nn.Module):
        copied = copy.deepcopy(denoise).to(dtype)
        phi = single_call_map(copied, t, conditioning)
        try:
            phi(x)
            return phi, "computed"
        except RuntimeError:  # no kernel for 'Half', or a mixture of dtypes
            denoise = copied.float()
    plain = single_call_map(denoise, t, conditioning)
    return lambda x_t: plain(x_t.to(dtype).float()).to(dtype).float(), "rounded"


@torch.no_grad()
def rounding_error_by_step(
    teacher: Model,
    student: Model,
    noise: Tensor,
    direction: Tensor,
    prompts: list[str],
    *,
    t: float = 1.0,
    steps: Sequence[float] = STEPS,
    dtypes: Sequence[torch.dtype] = DTYPES,
) -> pd.DataFrame:
    """A row per dtype and h: what differences of one unguided network call at ``t`` measure, mean over the noises.

    ``cosine`` and ``norm_ratio`` between student and teacher, ``self_cosine`` between the teacher's difference and its
    exact derivative (1 is best); ``true_cosine`` and ``true_ratio`` by forward mode in float32. The point and its
    perturbation are float32; a network rounds both to its own dtype, as in training.
    """
    models = {"teacher": teacher, "student": student}
    prompted = {name: model.condition(prompts) for name, model in models.items()}
    calls = {name: single_call_map(model.denoiser, t, prompted[name]) for name, model in models.items()}
    exact = {name: _derivative(call, noise, direction) for name, call in calls.items()}
    truth = {
        "true_cosine": _cosine(exact["student"], exact["teacher"]),
        "true_ratio": _ratio(exact["student"], exact["teacher"]),
    }
    rows = []
    for dtype in dtypes:
        made = {name: map_in_dtype(model.denoiser, dtype, noise, t, prompted[name]) for name, model in models.items()}
        how = " and ".join(sorted({how for _, how in made.values()}))
        for h, jvp in _difference_quotients({name: phi for name, (phi, _) in made.items()}, noise, direction, steps):
            measured = {
                "cosine": _cosine(jvp["student"], jvp["teacher"]),
                "norm_ratio": _ratio(jvp["student"], jvp["teacher"]),
                "self_cosine": _cosine(jvp["teacher"], exact["teacher"]),
            }
            rows.append({"dtype": NAMES[dtype], "h": h} | measured | truth | {"how": how})
    return pd.DataFrame(rows)


def _derivative(phi: Map, noise: Tensor, direction: Tensor) -> Tensor:
    """The exact derivative, NaN where the network has no forward mode."""
    found = exact_jvps_or_none(phi, noise, direction[None])
    return torch.full_like(noise, torch.nan) if found is None else found[1][0]


def _difference_quotients(
    maps: dict[str, Map], noise: Tensor, direction: Tensor, steps: Sequence[float]
) -> Iterator[tuple[float, dict[str, Tensor]]]:
    """Each h with (phi(z + h v) - phi(z)) / h of every map."""
    base = {name: phi(noise) for name, phi in maps.items()}
    for h in steps:
        yield h, {name: (phi(noise + h * direction) - base[name]) / h for name, phi in maps.items()}


def _cosine(one: Tensor, other: Tensor) -> float:
    return F.cosine_similarity(one.flatten(1), other.flatten(1)).mean().item()


def _ratio(one: Tensor, other: Tensor) -> float:
    """NaN where neither moves at all: a step that the dtype does not see."""
    return (one.square().sum() / other.square().sum()).sqrt().item()
