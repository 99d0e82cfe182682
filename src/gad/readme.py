"""The README's tables, made from ``results/``, so that none of their numbers is typed in."""

import re
from dataclasses import dataclass
from pathlib import Path

from gad.artifacts import RESULTS, ROOT, read_json
from gad.paper import number

NAMES = {
    "baseline": "baseline",
    "equal_time": "half as many steps more",
    "noise_augmentation": "noise augmentation",
    "diversity_regulariser": "diversity regulariser",
    "random_gradient": "random gradient",
    "pointwise_anchor": "pointwise anchor",
    "gad": "GAD (response)",
    "gad_anchor": "GAD + anchor",
    "gad_score": "GAD, score form as printed",
    "gad_score_fixed": "GAD, score form repaired",
    "gad_released": "GAD, authors' script",
}
LOW, ISOTROPIC = "low_frequency, h = 0.5", "isotropic, h = 0.5"


@dataclass(frozen=True)
class Metric:
    """A number of ``results/<recipe>.json`` under the name that the README gives it."""

    label: str
    stage: str
    group: str
    name: str

    def estimate(self, metrics: dict, variant: str, *, difference: bool = False) -> dict | None:
        """Mean and 95 % interval over seeds of a variant, or of its difference to the baseline."""
        group = self.group.removeprefix("over_seeds") if difference else self.group
        group = f"{group}_minus_baseline".removeprefix("_") if difference else group
        found = metrics[self.stage].get(group, {}).get(variant, {}).get(self.name)
        return found if found and found["mean"] is not None else None


@dataclass(frozen=True)
class Table:
    """Recipes under titles; by metric (a column a variant, and GAD's difference) or by variant (a column a metric)."""

    recipes: dict[str, str]
    metrics: tuple[Metric, ...]
    variants: tuple[str, ...]
    by_metric: bool

    def lines(self) -> list[str]:
        results = {name: read_json(RESULTS / f"{name}.json")["metrics"] for name in self.recipes}
        if self.by_metric:
            head = ["", *(NAMES.get(name, name) for name in self.variants), "GAD − baseline"]
        else:
            head = ["", *(metric.label for metric in self.metrics)]
        for metric in self.metrics:
            if not any(metric.estimate(found, name) for found in results.values() for name in self.variants):
                raise ValueError(f"no result holds {metric.name!r} of {metric.group!r}, which the README names")
        rows = []
        for recipe, title in self.recipes.items():
            if title:
                rows.append([f"**{title}**", *("" for _ in head[1:])])
            rows += self._by_metric(results[recipe]) if self.by_metric else self._by_variant(results[recipe])
        return [_line(head), "|" + "---|" * len(head), *map(_line, rows)]

    def _by_metric(self, metrics: dict) -> list[list[str]]:
        return [
            [
                metric.label,
                *(_cell(metric.estimate(metrics, variant)) for variant in self.variants),
                _bold(metric.estimate(metrics, "gad", difference=True)),
            ]
            for metric in self.metrics
        ]

    def _by_variant(self, metrics: dict) -> list[list[str]]:
        found = {
            variant: [_cell(metric.estimate(metrics, variant)) for metric in self.metrics] for variant in self.variants
        }
        return [[NAMES.get(variant, variant), *cells] for variant, cells in found.items() if any(cells)]


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |" if cells[0] else "| | " + " | ".join(cells[1:]) + " |"


def _cell(estimate: dict | None) -> str:
    """A mean with its interval, or alone where there is one seed or none."""
    if not estimate or estimate["low"] is None:
        return f"{estimate['mean']:.3g}" if estimate else ""
    return number(estimate)


def _bold(estimate: dict | None) -> str:
    """A difference; bold where its interval does not hold 0."""
    if not estimate or estimate["low"] is None:
        return _cell(estimate)
    return f"**{number(estimate)}**" if estimate["low"] * estimate["high"] > 0 else number(estimate)


def _points(label: str, name: str) -> Metric:
    return Metric(label, "sensitivity", "isotropic", name)


def _control(label: str, name: str) -> Metric:
    return Metric(label, "control", "over_seeds", name)


ROLL = _control("distance to the roll ↓", "distance_to_roll")
RETRIEVED = _control("NoiseQuery, distance to target ↓", "query_target_distance_retrieved")
MEDIAN = _points("map error, median ↓", "map_error_median")
COSINE, RATIO = _points("JVP cosine ↑", "jvp_cosine"), _points("Jacobian norm ratio → 1", "jacobian_norm_ratio")
PICTURES = (
    Metric("map error ↓", "sensitivity", LOW, "pointwise_mse"),
    Metric("JVP cosine, h = .5 ↑", "sensitivity", LOW, "jvp_cosine"),
    Metric("JVP cosine, h = .5, isotropic ↑", "sensitivity", ISOTROPIC, "jvp_cosine"),
    Metric("norm ratio, h = .5 → 1", "sensitivity", LOW, "jacobian_norm_ratio"),
)
SEEDS_TOLD = Metric("seeds told as the teacher's ↑", "sensitivity", "seeds", "teacher_alignment")
FRECHET = Metric("Fréchet distance to the teacher ↓", "sensitivity", "fidelity", "frechet_to_teacher")
SEEDS_FOUND, NOUN = _control("seeds found back ↑", "seeds_found"), _control("noun right ↑", "noun_right")
LAYOUT = _control("layout AP50, own optimised noise ↑", "ap50_optimised")

TABLES = {
    "swiss_roll": Table(
        {"swiss_roll": ""},
        (
            MEDIAN,
            _points("map error, mean ↓", "pointwise_mse"),
            *(COSINE, RATIO),
            _points("spectral KL ↓", "spectral_kl"),
            _points("squared error of the JVP ↓", "jvp_mse"),
            ROLL,
            _control("modes seen ↑", "mode_coverage"),
            RETRIEVED,
        ),
        ("baseline", "noise_augmentation", "gad"),
        by_metric=True,
    ),
    "swiss_roll_paradigms": Table(
        {"swiss_roll_ladd": "LADD", "swiss_roll_dmd2": "DMD2", "swiss_roll_sid": "SiD"},
        (MEDIAN, COSINE, RATIO, ROLL, RETRIEVED),
        ("baseline", "pointwise_anchor", "gad", "gad_anchor", "gad_score", "gad_released"),
        by_metric=False,
    ),
    "emoji": Table(
        {name: name for name in ("emoji_flow", "emoji_unet", "emoji_dit")},
        (
            *PICTURES,
            Metric("squared error of the JVP, h = .5 ↓", "sensitivity", LOW, "jvp_mse"),
            *(SEEDS_TOLD, FRECHET, SEEDS_FOUND, NOUN),
            _control("NoiseQuery CLIP, retrieved ↑", "query_clip_score_retrieved"),
        ),
        ("teacher", "baseline", "noise_augmentation", "gad"),
        by_metric=True,
    ),
    "emoji_paradigms": Table(
        {
            "emoji_unet_ladd": "LADD, UNet, one step",
            "emoji_dit_tdm": "TDM, DiT, four steps",
            "emoji_flow_sid": "SiD, flow network, four steps",
        },
        (
            *PICTURES,
            *(FRECHET, SEEDS_FOUND),
            _control("modes seen ↑", "mode_coverage"),
            _control("Vendi ↑", "vendi"),
            *(NOUN, LAYOUT),
        ),
        ("teacher", *NAMES),
        by_metric=False,
    ),
}


def with_tables(text: str) -> str:
    """The README's text with every table between its two marks made anew."""
    for name, table in TABLES.items():
        marks = f"<!-- table {name} -->", "<!-- end -->"
        block = "\n".join([marks[0], "", *table.lines(), "", marks[1]])
        blocks = re.findall(f"{re.escape(marks[0])}.*?{re.escape(marks[1])}", text, flags=re.S)
        if len(blocks) != 1:
            raise ValueError(f"README.md should have the mark {marks[0]} once, not {len(blocks)} times")
        text = text.replace(blocks[0], block)
    return text


def main(path: Path = ROOT / "README.md") -> None:
    path.write_text(with_tables(path.read_text()))


if __name__ == "__main__":
    main()
