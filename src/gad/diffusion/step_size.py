"""How small a difference quotient's step h may be before rounding drowns the response.

It imports nothing, since recipes are checked with it before anything heavy is loaded.
"""

EPS = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}  # as torch.finfo(dtype).eps


def smallest_step_size(dtype: object) -> float:
    """The smallest h whose difference quotient keeps its rounding error under about a tenth, in units of noise.

    ``dtype`` is a torch.dtype or its name. Rounding gives an error of u |Phi| / (h |J v|), with u the dtype's unit
    roundoff, and |J v| is of the size of |Phi| for unit noise: hence h >= 10 u.
    """
    return 10 * EPS[_name(dtype)] / 2


def check_step_size(h: float, dtype: object) -> None:
    """Raise ValueError, naming an h that would do, when ``h`` cannot be used with networks of ``dtype``."""
    floor = smallest_step_size(dtype)
    if not h > 0:
        raise ValueError(f"perturbation_scale h must be positive, not {h:g}")
    if h < floor:
        raise ValueError(f"perturbation_scale h = {h:g} drowns in the rounding of {_name(dtype)}; use h >= {floor:.2g}")


def _name(dtype: object) -> str:
    return str(dtype).removeprefix("torch.")
