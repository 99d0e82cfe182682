"""An objective that notes when each training step begins and how much memory the steps before it took."""

import resource
import time

import torch


def peak_bytes() -> float:
    """The most memory that this process has held: of the GPU where there is one, else of the machine."""
    if torch.cuda.is_available():
        return float(torch.cuda.max_memory_allocated())
    return 1024.0 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


class Clocked:
    """Stands in for ``objective`` in :func:`gad.training.train`; ``times`` in seconds, one for each step begun.

    A step asks for its terms ``accumulate`` times; the first of them is its beginning. ``peak``, in bytes, is that of
    the steps before the last one, which logs: what logging costs is not the step's.
    """

    def __init__(self, objective, accumulate: int):
        self.objective, self.accumulate = objective, accumulate
        self.calls, self.times, self.peak = 0, [], 0.0

    def __getattr__(self, attribute):
        return getattr(self.objective, attribute)

    def to(self, device):
        self.objective = self.objective.to(device)
        return self

    def terms(self, *inputs):
        if self.calls % self.accumulate == 0:
            self.begin_step(self.calls // self.accumulate)
        self.calls += 1
        return self.objective.terms(*inputs)

    def begin_step(self, step: int) -> None:
        """Note time and memory; what else is to happen at the beginning of a step extends it."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.times.append(time.perf_counter())
        self.peak = peak_bytes()
