"""What GAD changed, in words: the verdict on a recipe and the outcome of an analysis, from numbers and intervals."""

from gad.metrics.statistics import effect_statistics, excludes_zero, has_confidence_interval
from gad.report.direction_kinds import direction_kind_title
from gad.report.format import ALONE, format_two_digits
from gad.report.headline import Headline, headline_directions, headlines

EXAMPLE = "an example, no result: one student seed"
COVERED = f"GAD less the baseline [95 % interval over other seeds and other noises; {ALONE.strip()} other seeds alone]"


def verdict(metrics: dict[str, dict]) -> str:
    """A recipe's result in Markdown: one sentence on the response to the noise, a line for each other headline number.

    A change is a result where its 95 % interval excludes 0, and is called not significant otherwise; with one student
    seed there is no interval and no result.
    """
    first, *others = headlines(metrics)
    change, _ = first.metric.difference(metrics, "gad")
    if change is None:
        return "**No student with GAD to compare with the baseline.**"
    lead, note = f"**{_upper(EXAMPLE)}.** {_upper(change_phrase(first, metrics))}", ""
    if has_confidence_interval(change["low"]):
        lead, note = f"**{_lead(change)}:** {change_phrase(first, metrics)}{_detectable(change)}", f"\n\n*{COVERED}.*"
    lines = [f"- {_upper(line)}." for each in others if (line := change_phrase(each, metrics))]
    kind = direction_kind_title(headline_directions(metrics["sensitivity"]))
    return "\n".join([f"{lead} ({kind}).", "", *lines]) + note


def _lead(change: dict) -> str:
    if not excludes_zero(change["low"], change["high"]):
        return "No significant effect of GAD on the response to the noise"
    toward = "closer to" if change["mean"] > 0 else "further from"
    return f"With GAD the response to the noise is {toward} the teacher's"


def _detectable(change: dict) -> str:
    """What so many seeds would have detected, for a change that is not significant."""
    if excludes_zero(change["low"], change["high"]):
        return ""
    return f", minimum detectable effect {format_two_digits(effect_statistics(**change).minimum_detectable)}"


def change_phrase(headline: Headline, metrics: dict[str, dict]) -> str:
    """GAD less the baseline in one number, "JVP cosine higher by 0.059 [0.049, 0.068], n = 5 seeds"; or nothing.

    Both values where there is one seed, and so no interval.
    """
    label = headline.metric.label
    change, both = headline.metric.difference(metrics, "gad")
    own, base = (headline.metric.estimate(metrics, name) for name in ("gad", "baseline"))
    if change is None or own is None or base is None:
        return ""
    if not has_confidence_interval(change["low"]):
        return f"{label} {format_two_digits(own['mean'])} with GAD, {format_two_digits(base['mean'])} without"
    ends = change["mean"], change["low"], change["high"]
    seeds = f"n = {change['n']} seeds" + ("" if both else ALONE)
    if not excludes_zero(change["low"], change["high"]):
        return f"{label} changes by {_interval(*ends)}, not significant, {seeds}"
    nearer = ""
    if headline.better == "→ 1":
        nearer = ", nearer to 1" if abs(own["mean"] - 1) < abs(base["mean"] - 1) else ", further from 1"
    if change["mean"] > 0:
        return f"{label} higher by {_interval(*ends)}{nearer}, {seeds}"
    return f"{label} lower by {_interval(-ends[0], -ends[2], -ends[1])}{nearer}, {seeds}"


def _interval(mean: float, low: float, high: float) -> str:
    return f"{format_two_digits(mean)} [{format_two_digits(low)}, {format_two_digits(high)}]"


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def analysis_outcome(stage: str, found: dict) -> str:
    """What the stage `sensitivity`, `fidelity` or `control` found: the change of its headline numbers, in one line."""
    metrics = {stage: found}
    measured = [each for each in headlines(metrics) if change_phrase(each, metrics)]
    if not measured:
        return "this recipe measures no headline number here."
    changes = [each.metric.difference(metrics, "gad")[0] for each in measured]
    alone = not any(change and has_confidence_interval(change["low"]) for change in changes)
    phrases = "; ".join(change_phrase(each, metrics) for each in measured)
    return f"{phrases}. *{_upper(EXAMPLE) if alone else COVERED}.*"
