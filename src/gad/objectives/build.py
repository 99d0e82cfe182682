"""From a recipe's student section to the objective that trains it."""

from gad.config import StudentConfig
from gad.models.denoiser import NetworkDenoiser
from gad.noise_pairs import NoisePairs
from gad.objectives.batch import ANCHORED
from gad.objectives.distribution import Sid, Stored, Tdm, fake_score_of
from gad.objectives.matching import Alignment, Matching
from gad.teachers.load import Model

Objective = Matching | Tdm | Sid


def build_objective(
    teacher: Model, student: NetworkDenoiser, pairs: NoisePairs, config: StudentConfig, *, variant: str
) -> Objective:
    """The objective of a variant; ``teacher`` is asked only where the paradigm does so while the student trains.

    Raises ValueError for an anchored variant of output matching.
    """
    if config.paradigm == "matching" and variant in ANCHORED:
        raise ValueError(f"variant {variant!r} needs another paradigm than output matching, which is the anchor itself")
    alignment = Alignment(pairs.config.perturbation_scale, pairs.jvp_power(), config.loss)
    gad_weight = config.gad_weight if variant in ("gad", "gad_anchor") else 0.0
    if config.paradigm == "matching":
        return Matching(alignment, gad_weight)
    guided = teacher.guided(pairs.config.guidance_scale)
    parts = (guided, fake_score_of(guided, student), pairs.config.num_nodes)
    stored = Stored(alignment, gad_weight, config.anchor_weight if variant in ANCHORED else 0.0)
    return Tdm(*parts, stored) if config.paradigm == "tdm" else Sid(*parts, stored, config.sid_alpha)
