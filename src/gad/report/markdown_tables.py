"""Tables of ``results/`` in Markdown: a cell is a mean with its 95 % interval."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from gad.evaluation.sensitivity.initialisation import INITIALISATION
from gad.report.format import format_cell, format_difference
from gad.report.recorded_metric import Metric
from gad.runtime.files import read_json
from gad.runtime.paths import RESULTS, ROOT

NAMES = {
    INITIALISATION: "at initialisation",
    "initialisation": "at initialisation, after regression",
    "baseline": "baseline",
    "equal_time": "1.5x training (equal compute)",
    "noise_augmentation": "noise augmentation",
    "diversity_regulariser": "diversity regulariser",
    "random_gradient": "random gradient",
    "pointwise_anchor": "pointwise anchor",
    "gad": "GAD (response)",
    "gad_anchor": "GAD + anchor",
    "gad_score": "GAD, score form as printed",
    "gad_score_fixed": "GAD, score form repaired",
    "gad_released": "GAD, released code (Huang et al.)",
}


@dataclass(frozen=True)
class Table:
    """Recipes under titles; by metric (a column a variant, and GAD's difference) or by variant (a column a metric)."""

    recipes: dict[str, str]
    metrics: tuple[Metric, ...]
    variants: tuple[str, ...]
    by_metric: bool

    def lines(self) -> list[str]:
        results = _read_results(self.recipes)
        for metric in self.metrics:
            if not any(metric.estimate(found, name) for found in results.values() for name in self.variants):
                raise ValueError(f"no result holds {metric.name!r} of {metric.group!r}, which a table shows")
        columns = [NAMES.get(name, name) for name in self.variants] + ["GAD − baseline"]
        head = ["", *(columns if self.by_metric else [metric.label for metric in self.metrics])]
        rows = []
        for recipe, title in self.recipes.items():
            if title:
                rows.append([f"**{title}**", *("" for _ in head[1:])])
            rows += self._by_metric(results[recipe]) if self.by_metric else self._by_variant(results[recipe])
        return markdown_table(head, rows)

    def _by_metric(self, metrics: dict) -> Iterator[list[str]]:
        for metric in self.metrics:
            cells = (format_cell(metric.estimate(metrics, variant)) for variant in self.variants)
            yield [metric.label, *cells, format_difference(*metric.difference(metrics, "gad"))]

    def _by_variant(self, metrics: dict) -> Iterator[list[str]]:
        for variant in self.variants:
            cells = [format_cell(metric.estimate(metrics, variant)) for metric in self.metrics]
            if any(cells):
                yield [NAMES.get(variant, variant), *cells]


@dataclass(frozen=True)
class Overview:
    """A row a recipe: one metric at initialisation and of the baseline, and what each variant changes it by.

    Those of the front page fit into its width: titles without the recipe, nothing at initialisation.
    """

    rows: dict[str, tuple[str, Metric]]
    variants: tuple[str, ...]
    label: str
    narrow: bool = False

    def lines(self) -> list[str]:
        results = _read_results(self.rows)
        changes_of = [f"{NAMES[name]}: change" for name in self.variants]
        first = [f"{self.label}, baseline"] if self.narrow else [f"{self.label}, {NAMES[INITIALISATION]}", "baseline"]
        rows = []
        for recipe, (title, metric) in self.rows.items():
            base = metric.estimate(results[recipe], "baseline")
            assert base is not None, f"{recipe} has a baseline"
            changes = (format_difference(*metric.difference(results[recipe], name)) for name in self.variants)
            begun = [metric.estimate(results[recipe], name) for name in (INITIALISATION, "initialisation")]
            start = [] if self.narrow else [format_cell(next(filter(None, begun), None))]
            name = title if self.narrow else f"{title} (`{recipe}`)"
            rows.append([name, str(base["n"]), *start, format_cell(base), *changes])
        return markdown_table(["", "seeds", *first, *changes_of], rows)


def _read_results(recipes: Iterable[str]) -> dict[str, dict]:
    """The metrics of each recipe, with those of the network that its students start from where they were measured."""
    results = {name: read_json(RESULTS / f"{name}.json")["metrics"] for name in recipes}
    for name, start in read_json(RESULTS / "at_initialisation.json").items():
        for kind, values in start["metrics"]["sensitivity"].items():
            if name in results:
                results[name]["sensitivity"][kind] |= values
    return results


def markdown_table(head: list[str], rows: list[list[str]]) -> list[str]:
    """The lines of a table."""
    return [_line(head), "|" + "---|" * len(head), *map(_line, rows)]


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |" if cells[0] else "| | " + " | ".join(cells[1:]) + " |"


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
IMAGES = (
    Metric("map error ↓", "sensitivity", LOW, "pointwise_mse"),
    Metric("JVP cosine, h = .5 ↑", "sensitivity", LOW, "jvp_cosine"),
    ISOTROPIC_COSINE,
    Metric("norm ratio, h = .5 → 1", "sensitivity", LOW, "jacobian_norm_ratio"),
)
TEACHER_TRAINED = Metric("teacher-trained seed accuracy ↑", "sensitivity", "seeds", "teacher_trained_seed_accuracy")
FRECHET = Metric("Fréchet distance to the teacher ↓", "fidelity", "fidelity", "frechet_to_teacher")
SEED_RETRIEVAL, OBJECT = (
    _control("seed retrieval accuracy ↑", "seed_retrieval_accuracy"),
    _control("object accuracy ↑", "object_accuracy"),
)
LAYOUT = _control("layout AP50, own optimised noise ↑", "ap50_optimised")
MODES = _control("mode coverage ↑", "mode_coverage")

OVERVIEW = Overview(
    {
        "swiss_roll": ("2-D, output matching", COSINE),
        "swiss_roll_ladd": ("2-D, LADD", COSINE),
        "swiss_roll_dmd2": ("2-D, DMD2", COSINE),
        "swiss_roll_sid": ("2-D, SiD", COSINE),
        "compact_tdm": ("images, TDM, trained", ISOTROPIC_COSINE),
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
FRONT_PAGE = Overview(  # output matching on images by one of three networks, which agree; TDM by the longer training
    {name: row for name, row in OVERVIEW.rows.items() if name not in ("emoji_unet", "emoji_dit", "emoji_dit_tdm")},
    ("gad", "pointwise_anchor"),
    "JVP cosine ↑",
    narrow=True,
)
SWISS_ROLL = Table(
    {"swiss_roll": ""},
    (
        MEDIAN,
        _two_dim("map error, mean ↓", "pointwise_mse"),
        *(COSINE, RATIO),
        _two_dim("spectral KL ↓", "spectral_kl"),
        _two_dim("squared error of the JVP ↓", "jvp_mse"),
        DISTANCE,
        *(MODES, RETRIEVED),
    ),
    ("baseline", "noise_augmentation", "gad"),
    by_metric=True,
)
SWISS_ROLL_PARADIGMS = Table(
    {"swiss_roll_ladd": "LADD", "swiss_roll_dmd2": "DMD2", "swiss_roll_sid": "SiD"},
    (MEDIAN, COSINE, RATIO, DISTANCE, RETRIEVED),
    ("baseline", "pointwise_anchor", "gad", "gad_anchor", "gad_score", "gad_score_fixed", "gad_released"),
    by_metric=False,
)
COMPACT = Table(
    {"compact_tdm": ""},
    (
        ISOTROPIC_COSINE,
        Metric("JVP cosine, h = .5, low-frequency ↑", "sensitivity", LOW, "jvp_cosine"),
        Metric("median gain, h = .5, isotropic → 1", "sensitivity", ISOTROPIC, "gain_median"),
        Metric("map error ↓", "sensitivity", LOW, "pointwise_mse"),
        *(TEACHER_TRAINED, SEED_RETRIEVAL, FRECHET, OBJECT, MODES, _control("Vendi", "vendi"), LAYOUT),
        _control("NoiseQuery CLIP, retrieved ↑", "query_clip_score_retrieved"),
    ),
    ("teacher", "initialisation", "baseline", "noise_augmentation", "gad", "pointwise_anchor"),
    by_metric=True,
)
EMOJI = Table(
    {name: name for name in ("emoji_flow", "emoji_unet", "emoji_dit")},
    (
        *IMAGES,
        Metric("squared error of the JVP, h = .5 ↓", "sensitivity", LOW, "jvp_mse"),
        *(TEACHER_TRAINED, FRECHET, SEED_RETRIEVAL, MODES, OBJECT, LAYOUT),
        _control("NoiseQuery CLIP, retrieved ↑", "query_clip_score_retrieved"),
    ),
    ("teacher", INITIALISATION, "baseline", "noise_augmentation", "gad"),
    by_metric=True,
)
EMOJI_PARADIGMS = Table(
    {
        "emoji_unet_ladd": "LADD, UNet, one step",
        "emoji_dit_tdm": "TDM, DiT, four steps",
        "emoji_flow_sid": "SiD, flow network, four steps",
    },
    (
        *IMAGES,
        *(FRECHET, SEED_RETRIEVAL, MODES),
        _control("Vendi ↑", "vendi"),
        *(OBJECT, LAYOUT),
    ),
    ("teacher", *NAMES),
    by_metric=False,
)

PAGES: dict[str, dict[str, Table | Overview]] = {
    "README.md": {"front_page": FRONT_PAGE},
    "RESULTS.md": {
        "overview": OVERVIEW,
        "swiss_roll": SWISS_ROLL,
        "swiss_roll_paradigms": SWISS_ROLL_PARADIGMS,
        "compact": COMPACT,
        "emoji": EMOJI,
        "emoji_paradigms": EMOJI_PARADIGMS,
    },
}


def with_markdown_tables(text: str, page: str) -> str:
    """A page's text with every table of it between its two marks made anew."""
    for name, table in PAGES[page].items():
        marks = f"<!-- table {name} -->", "<!-- end -->"
        block = "\n".join([marks[0], "", *table.lines(), "", marks[1]])
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
