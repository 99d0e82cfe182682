"""Tables of ``results/`` in Markdown: a cell is a mean with its 95 % interval."""

import re
from pathlib import Path

from gad.evaluation.sensitivity.initialisation import INITIALISATION
from gad.report.format import format_unbroken
from gad.report.recorded_metric import Metric
from gad.report.result_tables import NAMES, Contrasts, Overview, Table
from gad.runtime.paths import ROOT


def _two_dim(label: str, name: str) -> Metric:
    return Metric(label, "sensitivity", "isotropic", name)


def _control(label: str, name: str) -> Metric:
    return Metric(label, "control", "over_seeds", name)


LOW, ISOTROPIC = "low_frequency, h = 0.5", "isotropic, h = 0.5"
DISTANCE = _control("distance to the Swiss roll ↓", "distance_to_roll")
RETRIEVED = _control("NoiseQuery, distance to target ↓", "query_target_distance_retrieved")
MEDIAN = _two_dim("map error, median ↓", "map_error_median")
COSINE, RATIO = _two_dim("JVP cosine ↑", "jvp_cosine"), _two_dim("Jacobian norm ratio → 1", "jacobian_norm_ratio")
ISOTROPIC_COSINE = Metric("JVP cosine, h = .5, isotropic ↑", "sensitivity", ISOTROPIC, "jvp_cosine")
MAP_ERROR = Metric("map error ↓", "sensitivity", LOW, "pointwise_mse")
ERROR = Metric("JVP error² ↓", "sensitivity", LOW, "jvp_mse")
RESPONSE = (  # at h = .5
    Metric("JVP cosine ↑", "sensitivity", LOW, "jvp_cosine"),
    Metric("isotropic ↑", "sensitivity", ISOTROPIC, "jvp_cosine"),
    Metric("norm ratio → 1", "sensitivity", LOW, "jacobian_norm_ratio"),
)
TEACHER_TRAINED = Metric("teacher-trained seed accuracy ↑", "sensitivity", "seeds", "teacher_trained_seed_accuracy")
FRECHET = Metric("Fréchet distance to the teacher ↓", "fidelity", "fidelity", "frechet_to_teacher")
SEED_RETRIEVAL, OBJECT = (
    _control("seed retrieval accuracy ↑", "seed_retrieval_accuracy"),
    _control("object accuracy, control ↑", "object_accuracy"),
)
LAYOUT = _control("layout AP50, own optimised noise ↑", "ap50_optimised")
MODES = _control("mode coverage ↑", "mode_coverage")
OBJECTS_HELD_OUT = Metric("object accuracy ↑", "fidelity", "fidelity", "object_accuracy")
REQUESTS = _control("requests, rank correlation ↑", "attribute_rank_correlation")
CLIP = _control("NoiseQuery CLIP, retrieved ↑", "query_clip_score_retrieved")

OVERVIEW = Overview(
    {
        "swiss_roll": ("2-D, output matching", COSINE),
        "swiss_roll_ladd": ("2-D, LADD", COSINE),
        "swiss_roll_dmd2": ("2-D, DMD2", COSINE),
        "swiss_roll_sid": ("2-D, SiD", COSINE),
        "compact_ladd": ("images, LADD, trained", ISOTROPIC_COSINE),
        "compact_tdm": ("images, TDM, trained", ISOTROPIC_COSINE),
        "compact_dmd2": ("images, DMD2, trained", ISOTROPIC_COSINE),
        "compact_sid": ("images, SiD, trained", ISOTROPIC_COSINE),
        "emoji_flow": ("images, output matching, flow DiT", ISOTROPIC_COSINE),
        "emoji_unet": ("images, output matching, UNet", ISOTROPIC_COSINE),
        "emoji_dit": ("images, output matching, DiT", ISOTROPIC_COSINE),
        "emoji_unet_ladd": ("images, LADD, UNet", ISOTROPIC_COSINE),
        "emoji_dit_tdm": ("images, TDM, DiT", ISOTROPIC_COSINE),
        "emoji_flow_sid": ("images, SiD, flow DiT", ISOTROPIC_COSINE),
    },
    ("gad", "pointwise_anchor", "noise_augmentation"),
    "JVP cosine",
)
FRONT_PAGE = Overview(
    {name: row for name, row in OVERVIEW.rows.items() if not name.startswith("emoji")},  # trained to the end
    ("gad", "pointwise_anchor"),
    "JVP cosine ↑",
    narrow=True,
)
SWISS_ROLL = Table(
    {"swiss_roll": ""},
    {
        "Errors": (MEDIAN, _two_dim("map error, mean ↓", "pointwise_mse"), _two_dim("JVP error² ↓", "jvp_mse")),
        "Response": (COSINE, RATIO, _two_dim("spectral KL ↓", "spectral_kl")),
        "Modes and control": (DISTANCE, MODES, RETRIEVED),
    },
    ("baseline", "noise_augmentation", "gad"),
    change="gad",
)
SWISS_ROLL_PARADIGMS = Table(
    {"swiss_roll_ladd": "LADD", "swiss_roll_dmd2": "DMD2", "swiss_roll_sid": "SiD"},
    {"Response": (MEDIAN, COSINE, RATIO), "Outputs and control": (DISTANCE, RETRIEVED)},
    ("baseline", "pointwise_anchor", "gad", "gad_anchor", "gad_score", "gad_score_fixed", "gad_released"),
)
TRAINED = {"compact_ladd": "LADD", "compact_tdm": "TDM", "compact_dmd2": "DMD2", "compact_sid": "SiD"}
CONTRASTS = Contrasts(
    TRAINED,
    {
        "noise_augmentation": "noise augmentation",
        "pointwise_anchor": "pointwise anchor",
    },
)
COMPACT = Table(
    TRAINED,
    {
        "Response, h = .5": (
            Metric("JVP cosine, isotropic ↑", "sensitivity", ISOTROPIC, "jvp_cosine"),
            Metric("low-frequency ↑", "sensitivity", LOW, "jvp_cosine"),
            Metric("median gain, isotropic → 1", "sensitivity", ISOTROPIC, "gain_median"),
        ),
        "Outputs": (MAP_ERROR, FRECHET, OBJECTS_HELD_OUT),
        "Seeds and modes": (TEACHER_TRAINED, SEED_RETRIEVAL, MODES),
        "Diversity and control": (_control("Vendi", "vendi"), CLIP, REQUESTS),
    },
    (
        "teacher",
        "initialisation",
        "baseline",
        "noise_augmentation",
        "gad",
        "pointwise_anchor",
        "teacher_first_step",
        "teacher_first_step_unguided",
    ),
    change="gad",
)
EMOJI = Table(
    {name: f"`{name}`" for name in ("emoji_flow", "emoji_unet", "emoji_dit")},
    {
        "Response, h = .5": RESPONSE,
        "Errors": (MAP_ERROR, ERROR, FRECHET),
        "Seeds and modes": (TEACHER_TRAINED, SEED_RETRIEVAL, MODES),
        "Content and control": (OBJECT, LAYOUT, CLIP),
    },
    ("teacher", INITIALISATION, "baseline", "noise_augmentation", "gad"),
    change="gad",
)
EMOJI_PARADIGMS = Table(
    {
        "emoji_unet_ladd": "LADD, UNet, one step",
        "emoji_dit_tdm": "TDM, DiT, four steps",
        "emoji_flow_sid": "SiD, flow network, four steps",
    },
    {
        "Response, h = .5": RESPONSE,
        "Outputs": (MAP_ERROR, FRECHET, OBJECT),
        "Seeds, modes and diversity": (SEED_RETRIEVAL, MODES, _control("Vendi ↑", "vendi")),
        "Control": (LAYOUT,),
    },
    ("teacher", *NAMES),
)

PAGES: dict[str, dict[str, Table | Overview | Contrasts]] = {
    "README.md": {"front_page": FRONT_PAGE},
    "RESULTS.md": {
        "overview": OVERVIEW,
        "swiss_roll": SWISS_ROLL,
        "swiss_roll_paradigms": SWISS_ROLL_PARADIGMS,
        "contrasts": CONTRASTS,
        "compact": COMPACT,
        "emoji": EMOJI,
        "emoji_paradigms": EMOJI_PARADIGMS,
    },
}


def with_markdown_tables(text: str, page: str) -> str:
    """A page's text with every table of it between its two marks made anew."""
    for name, table in PAGES[page].items():
        marks = f"<!-- table {name} -->", "<!-- end -->"
        block = "\n".join([marks[0], "", *map(format_unbroken, table.lines()), "", marks[1]])
        blocks = re.findall(f"{re.escape(marks[0])}.*?{re.escape(marks[1])}", text, flags=re.S)
        if len(blocks) != 1:
            raise ValueError(f"{page} should have the mark {marks[0]} once, not {len(blocks)} times")
        text = text.replace(blocks[0], block)
    return text


def _write_markdown_tables(folder: Path = ROOT) -> None:
    for page in PAGES:
        path = folder / page
        path.write_text(with_markdown_tables(path.read_text(encoding="utf-8"), page), encoding="utf-8")


if __name__ == "__main__":
    _write_markdown_tables()
