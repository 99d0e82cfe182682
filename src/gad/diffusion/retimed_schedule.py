r"""The schedule of a student that is asked at times of its own, such as timestep 400 of 1000 on pure noise.

Our samplers walk t = 1, 1 - 1/S, ..., 0. A student distilled elsewhere may have learnt other times: t is its own
:math:`\tau(t)` then, and its states have the scales of those,

.. math:: x_t = \alpha_{\tau(t)} x_0 + \sigma_{\tau(t)} \epsilon

so that our DDIM steps are DDIM steps at its own times.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from gad.diffusion.schedule import Schedule
from gad.diffusion.shapes import PerSample

CLOSE = 0.02  # of the whole time: own times that near to our sampler's are taken for them


def _interpolated(x: Tensor, knots: tuple[float, ...], values: tuple[float, ...]) -> Tensor:
    """The piecewise linear function through ``values`` at rising ``knots``, both from 0 to the last one."""
    # made where x is: a copy from the host would be waited for
    places, heights = (torch.stack([x.new_full((), number) for number in part]) for part in (knots, values))
    right = torch.searchsorted(places, x.contiguous()).clamp(1, len(knots) - 1)
    share = (x - places[right - 1]) / (places[right] - places[right - 1])
    return heights[right - 1] + share * (heights[right] - heights[right - 1])


@dataclass(frozen=True)
class RetimedSchedule:
    """``schedule`` at a student's own times: ``own[k]`` where our sampler of ``len(own)`` steps is at 1 - k / S.

    Between them time is linear, and clean data stands at 0 in both.
    """

    schedule: Schedule
    own: tuple[float, ...]

    @property
    def _knots(self) -> tuple[float, ...]:
        return tuple(k / len(self.own) for k in range(len(self.own) + 1))

    def own_time(self, t: PerSample) -> PerSample:
        """The student's own time of our ``t``, in [0, 1]."""
        return _interpolated(t, self._knots, (0.0, *reversed(self.own)))

    def alpha(self, t: PerSample) -> PerSample:
        return self.schedule.alpha(self.own_time(t))

    def sigma(self, t: PerSample) -> PerSample:
        return self.schedule.sigma(self.own_time(t))

    def timestep(self, t: PerSample) -> Tensor:
        return self.schedule.timestep(self.own_time(t))

    def time(self, timestep: Tensor) -> PerSample:
        return _interpolated(self.schedule.time(timestep), (0.0, *reversed(self.own)), self._knots)

    def to(self, device: torch.device | str) -> "RetimedSchedule":
        return RetimedSchedule(self.schedule.to(device), self.own)


def schedule_at_own_times(schedule: Schedule, own: tuple[float, ...]) -> Schedule:
    """The schedule at a student's own times, falling and above 0; itself where they are our sampler's, to 1/50.

    Raises ValueError, in one line, for times that do not fall from at most 1 to above 0.
    """
    steps = len(own)
    falling = all(late < early for early, late in zip(own, own[1:], strict=False))
    if not (falling and own[0] <= 1 and own[-1] > 0):
        raise ValueError(f"times of a student fall from at most 1 to above 0, not {list(own)}")
    ours = [1 - k / steps for k in range(steps)]
    close = all(abs(one - other) <= CLOSE for one, other in zip(own, ours, strict=True))
    return schedule if close else RetimedSchedule(schedule, own)


def process_schedule(schedule: Schedule) -> Schedule:
    """The schedule of the diffusion process itself, at which a student's own times do not count."""
    return schedule.schedule if isinstance(schedule, RetimedSchedule) else schedule


def process_time(schedule: Schedule, t: PerSample) -> PerSample:
    """When a state at our ``t`` on this schedule is, in the time of the process."""
    return schedule.own_time(t) if isinstance(schedule, RetimedSchedule) else t
