"""The tables of a model card: how a student was made, and what was measured of it."""

from collections.abc import Mapping

from gad.config import Recipe
from gad.config.variants import VARIANTS
from gad.report.direction_kinds import direction_kind_title
from gad.report.format import format_cell, format_difference, format_unbroken
from gad.report.headline import Headline, headline_directions, headlines
from gad.report.recorded_metric import Metric
from gad.report.result_tables import markdown_table

LOSSES = {
    "matching": "output matching",
    "ladd": "LADD",
    "tdm": "trajectory distribution matching",
    "dmd2": "DMD2",
    "sid": "SiD",
}
TERMS = {  # by a variant's weighted term
    None: "",
    "gad": "geometry-aware distillation (GAD): its response to a change of the noise follows the teacher's",
    "score": "GAD in its score form",
    "score_fixed": "GAD in its score form at fixed states",
    "released": "GAD as in the code that Huang et al. released",
    "other_pair": "a control: GAD's term with the response of another pair",
    "diversity": "a control: a regulariser of the diversity",
    "random": "a control: a random gradient as large as GAD's",
    "random_bounded": "a control: a random gradient as large as GAD's, bounded",
}
FURTHER = [  # beside the headline numbers
    Headline("object", "↑", Metric("object accuracy, control", "control", "over_seeds", "object_accuracy")),
    Headline("colour", "↑", Metric("colour accuracy", "control", "over_seeds", "colour_accuracy")),
    Headline("vendi", "↑", Metric("Vendi (EffLite0)", "control", "over_seeds", "vendi")),
]


def variant_terms(variant: str) -> list[str]:
    """What a variant trains with beside its base loss, in words: a phrase a term, and for how long or where."""
    facts = VARIANTS[variant]
    if facts.untrained:
        return ["no training with it: the student at initialisation"]
    anchor = "regression to the teacher's outputs of stored noises" if facts.anchored else ""
    alone = "pairs of noises in its batches, and no further term" if facts.paired else "no further term"
    terms = list(filter(None, [TERMS[facts.weighted_term], anchor])) or [alone]
    ways = {"at the first sampling step": facts.first_step, "1.5x training": facts.longer}
    return terms + [way for way, holds in ways.items() if holds]


def teacher_place(settings: Recipe) -> str:
    """A recipe's teacher: a folder from the project's root, or a name on a hub."""
    return settings.teacher.pretrained or f"data/{settings.name}/teacher"


def card_method(settings: Recipe, variant: str, seed: int, facts: Mapping) -> str:
    """A row per setting of the recipe that made the student, and the revision that its numbers were made with."""
    first, *further = variant_terms(variant)
    student, pairs = settings.student, settings.noise_pairs
    weight = f"{student.weight_of(variant):g}" if VARIANTS[variant].weighted_term else ""
    anchor = f"{student.anchor_weight:g} (anchor)" if VARIANTS[variant].anchored else ""
    weights = ", ".join(filter(None, [weight, anchor])) or "none"
    if student.gradient_ratio is not None and weights != "none":
        weights = f"held such that a term's gradient is {student.gradient_ratio:g} times the base loss's"
    factor = 0 if VARIANTS[variant].untrained else student.equal_time_factor if VARIANTS[variant].longer else 1
    begun = f" after {student.start_steps} steps of regression" if student.start == "regression" else ""
    steps = f"{student.num_steps * factor:g} steps of {student.batch_size} samples"
    rows = {
        "teacher": f"`{teacher_place(settings)}`, {pairs.teacher_steps} steps, guidance {pairs.guidance_scale:g}",
        "recipe": f"`pipelines/recipes/{settings.name}.yaml`",
        "base loss": LOSSES[student.paradigm],
        "beside it": first,
        **dict(zip(("and", "also"), further, strict=False)),
        "weights of what is beside it": weights,
        "noise pairs": f"{pairs.num_pairs}, {pairs.step} steps of {pairs.perturbation_scale:g} standard deviations, "
        f"{pairs.direction.replace('_', '-')} directions",
        "training": f"{steps}, learning rate {student.lr:g}{begun}",
        "seeds": f"{', '.join(map(str, student.seeds_of(variant)))}; this folder holds seed {seed}",
    }
    if facts:
        versions = [f"{library} {facts['versions'][library]}" for library in ("torch", "diffusers")]
        revision = [f"revision `{facts['revision']}`"] if facts["revision"] else []  # none outside of a git checkout
        rows["numbers made with"] = ", ".join([*revision, *versions])
    return "\n".join(markdown_table(["", ""], [list(row) for row in rows.items()]))


def card_numbers(settings: Recipe, variant: str, seed: int, metrics: dict[str, dict]) -> str:
    """A row per number: this variant over its seeds, the baseline, the paired change and the teacher."""
    against = variant != "baseline"
    head, rows = ["", variant, *(["baseline", "change"] if against else []), "teacher"], []
    for each in [*headlines(metrics), *FURTHER]:
        own = each.metric.estimate(metrics, variant)
        if own is not None:
            cells = [format_cell(own)]
            if against:
                cells.append(format_cell(each.metric.estimate(metrics, "baseline")))
                cells.append(format_difference(*each.metric.difference(metrics, variant)))
            cells.append(format_cell(each.metric.estimate(metrics, "teacher")))
            rows.append([each.label, *map(format_unbroken, cells)])
    return "\n".join([*markdown_table(head, rows), "", *_numbers_caption(variant, seed, metrics["sensitivity"])])


def _numbers_caption(variant: str, seed: int, sensitivity: dict) -> list[str]:
    kind = headline_directions(sensitivity)
    count = sensitivity[kind][variant]["jvp_cosine"]["n"]
    told = [f"Mean over {count} student seeds [95 % t interval over them]; this folder holds seed {seed} alone."]
    if count == 1:
        told = [f"Of seed {seed} alone: an example, no result."]
    told.append(f"JVP cosine and median gain: derivatives along {direction_kind_title(kind)}.")
    if variant != "baseline" and count > 1:
        told.append("The change to the baseline is paired by seed, its interval over other seeds and other samples,")
        told.append("or where † follows over other seeds alone; bold: it excludes 0.")
    return [*told, "All was measured on students in full precision."]
