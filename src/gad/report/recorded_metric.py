"""A number of the metrics files: where they hold it, and its difference to the baseline."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """A number of a recipe's metrics, or of ``results/<recipe>.json``, under the name that a table gives it."""

    label: str
    stage: str
    group: str
    name: str

    def estimate(self, metrics: dict, variant: str) -> dict | None:
        """Mean and 95 % interval over seeds of a variant."""
        return _found(metrics[self.stage].get(self.group, {}), variant, self.name)

    def difference(self, metrics: dict, variant: str) -> tuple[dict | None, bool]:
        """Mean and 95 % interval of a variant's difference to the baseline; whether it covers other samples too."""
        found = metrics[self.stage]
        names = (f"{self.name}, {by}" for by in (self.group, "by prompt", "by image"))  # what it is paired by
        quoted = (_found(found.get("two_level", {}), variant, name) for name in names)
        both = next(filter(None, quoted), None)
        group = f"{self.group.removeprefix('over_seeds')}_minus_baseline".removeprefix("_")
        return both or _found(found.get(group, {}), variant, self.name), both is not None


def _found(group: dict, variant: str, name: str) -> dict | None:
    found = group.get(variant, {}).get(name)
    return found if found and found["mean"] is not None else None
