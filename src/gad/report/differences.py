"""Tables of differences to the baseline: the main numbers, all others, and those over seeds and noises together."""

from collections.abc import Iterator

import pandas as pd

from gad.metrics.statistics import effect_statistics, excludes_zero, has_confidence_interval, holm
from gad.report.direction_kinds import direction_kind_title, direction_kinds, direction_kinds_read
from gad.report.format import format_mean
from gad.report.main_results import main_results

SIGNIFICANT, DETECTABLE = "significant at 95 %", "minimum detectable effect"
COLUMNS = ["group", "metric", "variant", "minus baseline", SIGNIFICANT, "effect size", DETECTABLE, "effect"]


def difference_table(metrics: dict[str, dict]) -> pd.DataFrame:
    """Paired differences of ``main_results`` to the baseline at equal seeds, with their effect sizes.

    ``effect size`` is Hedges' g of the paired differences · ``significant at 95 %``: the interval excludes 0 ·
    ``p, Holm``: the paired t test's, adjusted for every row of the table, so that ``significant after Holm`` is right
    for all rows together in 95 of 100 tables · ``minimum detectable effect``: where not significant, the difference
    that as many seeds of this spread detect in 80 % of all cases; a smaller one may be there. Variants of one seed
    are left to :func:`further_differences`, unless there are no others.
    """
    table, _ = _main(metrics)
    p = holm([effect.p for effect in table.pop("effect")])
    place = table.columns.get_loc(DETECTABLE)
    table.insert(place, "p, Holm", [_short(value) for value in p])
    table.insert(place + 1, "significant after Holm", ["yes" if value < 0.05 else "" for value in p])
    return table


def further_differences(metrics: dict[str, dict]) -> pd.DataFrame:
    """All other paired differences, as :func:`difference_table` without p-values: to look at, not to conclude from.

    About one row in twenty is significant by chance.
    """
    _, alone = _main(metrics)
    return pd.concat([alone, _differences(metrics, main=False)], ignore_index=True).drop(columns="effect")


def _main(metrics: dict[str, dict]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The main differences that have something to quote, and those of variants of one seed, where there are others."""
    table = _differences(metrics, main=True)
    several = pd.Series([pd.notna(effect.p) for effect in table["effect"]], dtype=bool)
    return (table[several].reset_index(drop=True), table[~several]) if several.any() else (table, table[:0])


def _differences(metrics: dict[str, dict], *, main: bool) -> pd.DataFrame:
    """A row per group, metric and variant, of the main numbers or of all others, with its ``effect``."""
    wanted, rows = set(main_results(metrics).values()), []
    kinds = direction_kinds(metrics["sensitivity"])
    for stage, group, label, variants in _against_baseline(metrics):
        for variant, values in variants.items():
            for metric, estimate in values.items():
                if ((stage, group, metric) in wanted) != main or estimate["mean"] is None:
                    continue
                if group is None and label not in map(direction_kind_title, direction_kinds_read(metric, kinds)):
                    continue
                effect, significant = effect_statistics(**estimate), excludes_zero(estimate["low"], estimate["high"])
                row = {
                    "group": label,
                    "metric": metric,
                    "variant": variant,
                    "minus baseline": format_mean(estimate),
                }
                row |= {SIGNIFICANT: "yes" if significant else "", "effect size": _short(effect.hedges_g)}
                row |= {DETECTABLE: "" if significant else _short(effect.minimum_detectable), "effect": effect}
                rows.append(row)
    return pd.DataFrame(rows, columns=COLUMNS)


def _against_baseline(metrics: dict[str, dict]) -> Iterator[tuple[str, str | None, str, dict]]:
    """Stage, group as in ``main_results``, title, and numbers per variant of every group of paired differences."""
    ending, kinds = "_minus_baseline", direction_kinds(metrics["sensitivity"])
    for stage in ("sensitivity", "fidelity"):
        for title, variants in metrics[stage].items():
            name = title.removesuffix(ending)
            if title.endswith(ending):
                is_kind = name in kinds
                yield stage, None if is_kind else name, direction_kind_title(name) if is_kind else name, variants
    yield "control", "over_seeds", "control", metrics["control"]["minus_baseline"]


def two_level_differences(metrics: dict[str, dict]) -> pd.DataFrame:
    """Differences to the baseline paired by seed, noise and prompt; intervals for other seeds and other noises.

    The ones to quote: those over seeds alone speak of these noises only. ``p, Holm`` and ``minimum detectable effect``
    are as in :func:`difference_table`, with the interval's own degrees of freedom (metrics files without them: as few
    as the seeds leave, which makes p too large below .05). Variants of one seed are left out, unless there are no
    others.
    """
    kinds = direction_kinds(metrics["sensitivity"])
    found = [
        (name, variant, estimate)
        for stage in ("sensitivity", "fidelity")
        for variant, values in metrics[stage].get("two_level", {}).items()
        for name, estimate in values.items()
        if estimate["mean"] is not None and _is_read(name, kinds)
    ]
    quoted = [row for row in found if has_confidence_interval(row[2]["low"])] or found
    effects = [effect_statistics(**value) for _, _, value in quoted]
    columns = {
        "metric": [name for name, _, _ in quoted],
        "variant": [variant for _, variant, _ in quoted],
        "minus baseline": [format_mean(value) for _, _, value in quoted],
        SIGNIFICANT: ["yes" if excludes_zero(value["low"], value["high"]) else "" for _, _, value in quoted],
        "p, Holm": [_short(p) for p in holm([effect.p for effect in effects])],
        DETECTABLE: [
            "" if excludes_zero(value["low"], value["high"]) else _short(effect.minimum_detectable)
            for (_, _, value), effect in zip(quoted, effects, strict=True)
        ],
    }
    return pd.DataFrame(columns)


def _is_read(name: str, kinds: list[str]) -> bool:
    """Whether a metric named with its kind of direction, "jvp_cosine, isotropic", is read at that kind."""
    metric, _, kind = name.partition(", ")
    return kind not in kinds or kind in direction_kinds_read(metric, kinds)


def _short(value: float) -> str:
    return "" if pd.isna(value) else f"{value:.2g}"
