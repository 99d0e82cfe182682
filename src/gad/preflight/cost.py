"""What a unit of work of a stage takes, and how much of a device's peak that is."""

from dataclasses import dataclass

PEAK = {  # dense FLOP/s by data sheet: half precision, float32
    "H200": (989e12, 67e12),
    "H100": (989e12, 67e12),
    "A100": (312e12, 19.5e12),
}


@dataclass(frozen=True)
class Cost:
    """What a stage's unit of work took: seconds, FLOPs (0: not counted), image tokens that a network read in it.

    ``peak`` is the memory in bytes that the process had needed at most by its end.
    """

    stage: str
    unit: str
    seconds: float
    flops: float
    tokens: int
    peak: float


def cost_utilisation(cost: Cost, device_name: str, dtype: str) -> float | None:
    """Model FLOP/s over the device's peak, in (0, 1]; None for a device whose peak is not known or without FLOPs."""
    peak = next((values for name, values in PEAK.items() if name in device_name), None)
    if peak is None or not cost.flops:
        return None
    return cost.flops / cost.seconds / peak[dtype == "float32"]
