"""The tables of README.md and RESULTS.md, made from ``results/``, so that none of their numbers is typed in."""

import re
from pathlib import Path

from gad.evaluation.sensitivity.initialisation import UNTRAINED
from gad.result_tables import NAMES, Metric, Overview, Table
from gad.runtime.paths import ROOT


def _points(label: str, name: str) -> Metric:
    return Metric(label, "sensitivity", "isotropic", name)


def _control(label: str, name: str) -> Metric:
    return Metric(label, "control", "over_seeds", name)


LOW, ISOTROPIC = "low_frequency, h = 0.5", "isotropic, h = 0.5"
ROLL = _control("distance to the roll ↓", "distance_to_roll")
RETRIEVED = _control("NoiseQuery, distance to target ↓", "query_target_distance_retrieved")
MEDIAN = _points("map error, median ↓", "map_error_median")
COSINE, RATIO = _points("JVP cosine ↑", "jvp_cosine"), _points("Jacobian norm ratio → 1", "jacobian_norm_ratio")
ISOTROPIC_COSINE = Metric("JVP cosine, h = .5, isotropic ↑", "sensitivity", ISOTROPIC, "jvp_cosine")
PICTURES = (
    Metric("map error ↓", "sensitivity", LOW, "pointwise_mse"),
    Metric("JVP cosine, h = .5 ↑", "sensitivity", LOW, "jvp_cosine"),
    ISOTROPIC_COSINE,
    Metric("norm ratio, h = .5 → 1", "sensitivity", LOW, "jacobian_norm_ratio"),
)
SEEDS_TOLD = Metric("seeds told as the teacher's ↑", "sensitivity", "seeds", "teacher_alignment")
FRECHET = Metric("Fréchet distance to the teacher ↓", "sensitivity", "fidelity", "frechet_to_teacher")
SEEDS_FOUND, NOUN = _control("seeds found back ↑", "seeds_found"), _control("noun right ↑", "noun_right")
LAYOUT = _control("layout AP50, own optimised noise ↑", "ap50_optimised")
MODES = _control("modes seen ↑", "mode_coverage")

ANSWER = Overview(
    {
        "swiss_roll": ("points, output matching", COSINE),
        "swiss_roll_ladd": ("points, LADD", COSINE),
        "swiss_roll_dmd2": ("points, DMD2", COSINE),
        "swiss_roll_sid": ("points, SiD", COSINE),
        "emoji_flow": ("pictures, output matching, flow DiT", ISOTROPIC_COSINE),
        "emoji_unet": ("pictures, output matching, UNet", ISOTROPIC_COSINE),
        "emoji_dit": ("pictures, output matching, DiT", ISOTROPIC_COSINE),
        "emoji_unet_ladd": ("pictures, LADD, UNet", ISOTROPIC_COSINE),
        "emoji_dit_tdm": ("pictures, TDM, DiT", ISOTROPIC_COSINE),
        "emoji_flow_sid": ("pictures, SiD, flow DiT", ISOTROPIC_COSINE),
    },
    ("gad", "pointwise_anchor", "noise_augmentation"),
    "JVP cosine",
)
SWISS_ROLL = Table(
    {"swiss_roll": ""},
    (
        MEDIAN,
        _points("map error, mean ↓", "pointwise_mse"),
        *(COSINE, RATIO),
        _points("spectral KL ↓", "spectral_kl"),
        _points("squared error of the JVP ↓", "jvp_mse"),
        ROLL,
        *(MODES, RETRIEVED),
    ),
    ("baseline", "noise_augmentation", "gad"),
    by_metric=True,
)
SWISS_ROLL_PARADIGMS = Table(
    {"swiss_roll_ladd": "LADD", "swiss_roll_dmd2": "DMD2", "swiss_roll_sid": "SiD"},
    (MEDIAN, COSINE, RATIO, ROLL, RETRIEVED),
    ("baseline", "pointwise_anchor", "gad", "gad_anchor", "gad_score", "gad_score_fixed", "gad_released"),
    by_metric=False,
)
EMOJI = Table(
    {name: name for name in ("emoji_flow", "emoji_unet", "emoji_dit")},
    (
        *PICTURES,
        Metric("squared error of the JVP, h = .5 ↓", "sensitivity", LOW, "jvp_mse"),
        *(SEEDS_TOLD, FRECHET, SEEDS_FOUND, MODES, NOUN, LAYOUT),
        _control("NoiseQuery CLIP, retrieved ↑", "query_clip_score_retrieved"),
    ),
    ("teacher", UNTRAINED, "baseline", "noise_augmentation", "gad"),
    by_metric=True,
)
EMOJI_PARADIGMS = Table(
    {
        "emoji_unet_ladd": "LADD, UNet, one step",
        "emoji_dit_tdm": "TDM, DiT, four steps",
        "emoji_flow_sid": "SiD, flow network, four steps",
    },
    (
        *PICTURES,
        *(FRECHET, SEEDS_FOUND, MODES),
        _control("Vendi ↑", "vendi"),
        *(NOUN, LAYOUT),
    ),
    ("teacher", *NAMES),
    by_metric=False,
)

PAGES = {
    "README.md": {"answer": ANSWER},
    "RESULTS.md": {
        "swiss_roll": SWISS_ROLL,
        "swiss_roll_paradigms": SWISS_ROLL_PARADIGMS,
        "emoji": EMOJI,
        "emoji_paradigms": EMOJI_PARADIGMS,
    },
}


def with_tables(text: str, page: str) -> str:
    """A page's text with every table of it between its two marks made anew."""
    for name, table in PAGES[page].items():
        marks = f"<!-- table {name} -->", "<!-- end -->"
        block = "\n".join([marks[0], "", *table.lines(), "", marks[1]])
        blocks = re.findall(f"{re.escape(marks[0])}.*?{re.escape(marks[1])}", text, flags=re.S)
        if len(blocks) != 1:
            raise ValueError(f"{page} should have the mark {marks[0]} once, not {len(blocks)} times")
        text = text.replace(blocks[0], block)
    return text


def main(folder: Path = ROOT) -> None:
    for page in PAGES:
        path = folder / page
        path.write_text(with_tables(path.read_text(), page))


if __name__ == "__main__":
    main()
