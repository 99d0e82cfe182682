"""How a measured number is written."""


def number(estimate: dict) -> str:
    """A mean with its 95 % interval, or the mean alone where there is one seed."""
    if estimate["low"] is None:
        return f"{estimate['mean']:.3g} (n = {estimate['n']})"
    return f"{estimate['mean']:.3g} [{estimate['low']:.3g}, {estimate['high']:.3g}]"


def ours(group: dict, variant: str, metric: str) -> str:
    """A variant's number in a group of the metrics, or nothing where it has none."""
    estimate = group.get(variant, {}).get(metric)
    return "" if estimate is None or estimate["mean"] is None else number(estimate)


ALONE = " †"  # after an interval for other seeds alone


def cell(estimate: dict | None) -> str:
    """A mean with its interval, or alone where there is one seed or none."""
    if not estimate or estimate["low"] is None:
        return f"{estimate['mean']:.3g}" if estimate else ""
    return number(estimate)


def difference_cell(estimate: dict | None, both: bool) -> str:
    """A difference; bold where its interval, for other seeds and other samples, does not hold 0."""
    if not estimate or estimate["low"] is None:
        return cell(estimate)
    if not both:
        return number(estimate) + ALONE
    return f"**{number(estimate)}**" if estimate["low"] * estimate["high"] > 0 else number(estimate)
