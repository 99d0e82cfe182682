"""What is trained besides the baseline: GAD in its forms and the controls that it has to beat."""

from dataclasses import dataclass
from typing import Literal

WeightedTerm = Literal["gad", "other_pair", "diversity", "random", "random_bounded", "score", "score_fixed", "released"]
SCORE_FORMS = ("score", "score_fixed", "released")


@dataclass(frozen=True)
class Variant:
    """How a variant differs from the baseline.

    ``paired``: batches of B/2 noise pairs instead of B noises. ``weighted_term``: the term that ``gad_weight`` weighs,
    or the variant's own weight. ``anchored``: regression to the stored pairs beside another base loss. ``longer``: 1.5x
    training (equal compute), an upper bound of what GAD's further call costs; with one sampling step GAD costs less, so
    this control is generous. ``first_step``: the anchor acts at the first sampling step alone, after DP-DMD, which
    keeps its base loss off that step; here it acts there as well. ``untrained``: the student at initialisation. With
    ``gradient_ratio`` each of a variant's terms is held at the ratio, so two of them weigh up to twice as much.
    """

    paired: bool = True
    weighted_term: WeightedTerm | None = None
    anchored: bool = False
    longer: bool = False
    first_step: bool = False
    untrained: bool = False


VARIANTS = {
    "initialisation": Variant(paired=False, untrained=True),
    "baseline": Variant(paired=False),
    "equal_time": Variant(paired=False, longer=True),
    "noise_augmentation": Variant(),
    "diversity_regulariser": Variant(weighted_term="diversity"),
    "random_gradient": Variant(weighted_term="random"),
    "random_gradient_bounded": Variant(weighted_term="random_bounded"),
    "gad_other_pair": Variant(weighted_term="other_pair"),
    "gad": Variant(weighted_term="gad"),
    "gad_score": Variant(weighted_term="score"),
    "gad_score_fixed": Variant(weighted_term="score_fixed"),
    "gad_released": Variant(weighted_term="released"),
    "pointwise_anchor": Variant(anchored=True),
    "first_step_anchor": Variant(anchored=True, first_step=True),
    "gad_anchor": Variant(weighted_term="gad", anchored=True),
}


def effective_variant(name: str, gad_weight: float) -> str:
    """The variant itself, or what is left of it without weight on its term: the baseline, or the anchor alone."""
    if gad_weight or VARIANTS[name].weighted_term is None:
        return name
    return "pointwise_anchor" if VARIANTS[name].anchored else "baseline"


def check_variant(name: str, paradigm: str) -> Variant:
    """The variant of that name. Raises ValueError where it makes no sense in the paradigm, and says why."""
    variant = VARIANTS[name]
    if paradigm == "matching" and variant.anchored:
        raise ValueError(f"variant {name!r} needs another paradigm than output matching, which is the anchor itself")
    if paradigm in ("matching", "ladd") and variant.weighted_term in SCORE_FORMS:
        raise ValueError(f"variant {name!r} needs a fake score, which only tdm, dmd2 and sid have, not {paradigm}")
    return variant
