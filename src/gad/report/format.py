"""How an estimate is written: a mean with its 95 % interval, see :func:`gad.metrics.statistics.mean_with_interval`.

An estimate is one of a metrics file: ``mean``, ``low``, ``high`` and ``n``; ``low`` is None where there is one seed.
"""

import re

from gad.metrics.statistics import excludes_zero, has_confidence_interval, mean_with_interval

ALONE = " †"  # after an interval for other seeds alone


def format_cell(estimate: dict | None) -> str:
    """A mean with its interval, or alone where there is one seed; nothing where there is no estimate."""
    return mean_with_interval(estimate["mean"], estimate["low"], estimate["high"]) if estimate else ""


def format_mean(estimate: dict) -> str:
    """A mean with its interval, or with how many seeds it is of where there is none."""
    return format_cell(estimate) + ("" if has_confidence_interval(estimate["low"]) else f" (n = {estimate['n']})")


def format_ours(group: dict, variant: str, metric: str) -> str:
    """A variant's number in a group of the metrics, or nothing where it has none."""
    estimate = group.get(variant, {}).get(metric)
    return "" if estimate is None or estimate["mean"] is None else format_mean(estimate)


def format_difference(estimate: dict | None, both: bool) -> str:
    """A difference; bold where its interval, for other seeds and other samples, does not hold 0."""
    if not estimate or not has_confidence_interval(estimate["low"]):
        return format_cell(estimate)
    if not both:
        return format_cell(estimate) + ALONE
    return f"**{format_cell(estimate)}**" if excludes_zero(estimate["low"], estimate["high"]) else format_cell(estimate)


def format_two_digits(value: float) -> str:
    """The number to two significant digits, as prose quotes it; without an exponent where six digits do."""
    return f"{float(f'{value:.2g}'):g}"


def format_unbroken(text: str) -> str:
    """The text with intervals, and what stands in parentheses, that are not broken over two lines."""
    return re.sub(r"\[[^]]*\]|\([^)]*\)", lambda found: found[0].replace(" ", "\N{NO-BREAK SPACE}"), text)
