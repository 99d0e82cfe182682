"""From a recipe's student section to the objective that trains it."""

from gad.config import StudentConfig
from gad.models.denoiser import NetworkDenoiser
from gad.models.discriminator import build_discriminator
from gad.noise_pairs import NoisePairs
from gad.objectives.adversarial import Ladd
from gad.objectives.batch import ANCHORED
from gad.objectives.distribution import Sid, Tdm, fake_score_of
from gad.objectives.matching import Matching
from gad.objectives.stored import Alignment, Stored
from gad.teachers.load import Model

Objective = Matching | Ladd | Tdm | Sid


def build_objective(
    teacher: Model, student: NetworkDenoiser, pairs: NoisePairs, config: StudentConfig, *, variant: str, seed: int
) -> Objective:
    """The objective of a variant; ``teacher`` is asked only where the paradigm does so while the student trains.

    The weights of new networks come from ``seed``. Raises ValueError for an anchored variant of output matching.
    """
    if config.paradigm == "matching" and variant in ANCHORED:
        raise ValueError(f"variant {variant!r} needs another paradigm than output matching, which is the anchor itself")
    alignment = Alignment(pairs.config.perturbation_scale, pairs.jvp_power(), config.loss)
    gad_weight = config.gad_weight if variant in ("gad", "gad_anchor") else 0.0
    if config.paradigm == "matching":
        return Matching(alignment, gad_weight)
    stored = Stored(alignment, gad_weight, config.anchor_weight if variant in ANCHORED else 0.0)
    if config.paradigm == "ladd":
        heads = build_discriminator(teacher.denoiser, teacher.latent_shape, teacher.condition([""]), seed=seed)
        return Ladd(teacher.denoiser, heads, pairs.config.num_nodes, stored, config.regression_weight)
    guided = teacher.guided(pairs.config.guidance_scale)
    parts = (guided, fake_score_of(guided, student), pairs.config.num_nodes, stored)
    return Tdm(*parts) if config.paradigm == "tdm" else Sid(*parts, config.sid_alpha)
