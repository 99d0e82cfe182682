"""Agreement of two noise-to-image maps at the same noise: the metrics of the paper's Table 1 and the pointwise error.

The paper gives no formulas; those here are ours. ``student`` and ``teacher`` are responses at the same noises and
directions; derivatives are per unit of h.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from gad.diffusion.jvp import Response
from gad.diffusion.shapes import PerSample


def response_value_mse(student: Response, teacher: Response) -> PerSample:
    """Mean over elements of (Phi_S(z) - Phi_T(z))², ``[B]``; 0 when equal, lower is better."""
    return (student.x0 - teacher.x0).square().flatten(1).mean(1)


def jvp_cosine(student: Response, teacher: Response) -> PerSample:
    """cos(J_S v, J_T v), ``[B]`` in [-1, 1]; 1 when both turn the same way, higher is better."""
    return F.cosine_similarity(student.jvp.flatten(1), teacher.jvp.flatten(1), dim=1)


def jvp_mse(student: Response, teacher: Response) -> PerSample:
    """Mean over elements of ((J_S - J_T) v)² per unit of h, ``[B]``; lower is better. Times h² it is in paper units."""
    return (student.jvp - teacher.jvp).square().flatten(1).mean(1)


def jacobian_norm_ratio(student: Response, teacher: Response) -> float:
    """sqrt(E‖J_S v‖² / E‖J_T v‖²) over the batch; 1 is best, below 1 the student is less sensitive.

    For isotropic v it is the ratio of Frobenius norms (Hutchinson).
    """
    return (student.jvp.square().sum() / teacher.jvp.square().sum()).sqrt().item()


def response_spectrum(jvps: Tensor) -> Tensor:
    """Singular values of the Jacobian's sketch J V, ``[B, K]`` descending, from the derivatives ``[K, B, ...]``.

    The K directions are the same for both maps that are compared. With K = dim orthonormal directions they are the
    Jacobian's own.
    """
    sketch = jvps.flatten(2).permute(1, 2, 0)  # B D K
    return torch.linalg.svdvals(sketch)


def _shares(singular: Tensor) -> Tensor:
    power = singular.square()
    return power / power.sum(1, keepdim=True).clamp(min=torch.finfo(power.dtype).tiny)  # all 0 for a constant map


def spectral_kl(student: Tensor, teacher: Tensor) -> PerSample:
    """KL(p_T ‖ p_S), ``[B]`` in nats, p the squared singular values normalised to sum 1; 0 is best.

    A singular value of zero in the student alone would make it infinite; shares are kept above 1e-12.
    """
    p_teacher, p_student = (_shares(s).clamp(min=1e-12) for s in (teacher, student))
    return (p_teacher * (p_teacher / p_student).log()).sum(1)
