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
