"""Students of a Gaussian teacher in closed form: rectified flow, data N(0, s²), every map a slope, in float64.

The student has one slope a_k per sampling step, x0 = a_k x. Its state at step k is c_k z, so a base loss and a target
each have a fixed point, found one step after the other.
"""

import math
from dataclasses import dataclass

import numpy as np

S = 0.5  # standard deviation of the data
EARLIEST, MARGIN = 0.02, 0.01  # of re-noised times


def deviation(t: float) -> float:
    """Of x_t, forward diffused from the data; the exact ODE's state at t is deviation(t) z."""
    return math.hypot((1 - t) * S, t)


def teacher_slope(t: float) -> float:
    """E[x0 | x_t] = slope x_t."""
    return (1 - t) * S**2 / deviation(t) ** 2


def euler(t: float, t_next: float, a: float) -> float:
    """The factor of the state from t to t_next under the x0 prediction a x."""
    return t_next / t + ((1 - t_next) - t_next / t * (1 - t)) * a


@dataclass(frozen=True)
class Chain:
    """Sampling times 1, 1 - 1/n, ..., 0."""

    steps: int

    @property
    def times(self) -> list[float]:
        return [1 - k / self.steps for k in range(self.steps + 1)]

    def states(self, slopes: list[float]) -> list[float]:
        """The factors c_k with x_k = c_k z along the student's own trajectory, the last one its end-to-end slope."""
        factors = [1.0]
        for t, t_next, a in zip(self.times, self.times[1:], slopes, strict=False):
            factors.append(factors[-1] * euler(t, t_next, a))
        return factors

    def solve(self, disagreement) -> list[float]:
        """Slopes at which ``disagreement(k, a, c_k)`` vanishes, step after step, by bisection in a."""
        slopes: list[float] = []
        for k in range(self.steps):
            c, low, high = self.states(slopes)[-1], 1e-6, 4.0
            for _ in range(80):
                middle = (low + high) / 2
                low, high = (middle, high) if disagreement(k, middle, c) < 0 else (low, middle)
            slopes.append(low)
        return slopes

    def target(self, kind: str) -> list[float]:
        """Slopes of the x0 that leads to the teacher's next state, or of the teacher's final x0, at its own states."""
        if kind == "endpoint":
            return [S / deviation(t) for t in self.times[:-1]]
        slopes = []
        for t, t_next in zip(self.times, self.times[1:], strict=False):
            still, moved = euler(t, t_next, 0.0), euler(t, t_next, 1.0)
            slopes.append((deviation(t_next) / deviation(t) - still) / (moved - still))
        return slopes

    def gad_at_rest(self, paradigm: str, target: str) -> float:
        """The GAD loss, relative to the teacher's response, of the student at which the base loss has no gradient.

        LADD acts on the last step alone, so the steps before it are where GAD leaves them.
        """
        if target == "end_to_end":  # every base loss wants a last x0 with the data's law
            last = self.states(self.rest(paradigm))[-1] if paradigm != "ladd" else S
            return (last - S) ** 2 / S**2
        wanted = self.target(target)
        if paradigm == "ladd":
            slopes = [*wanted[:-1], S / self.states(wanted[:-1])[-1]]
        else:
            slopes = self.rest(paradigm, weight="scaled")
        return sum((a - b) ** 2 for a, b in zip(slopes, wanted, strict=True)) / self.steps / S**2

    def rest(self, paradigm: str, *, dimensions: float = math.inf, weight: str = "plain") -> list[float]:
        """Slopes at which a base loss has no gradient, its fake score being the best one for this student.

        DMD2 and SiD rest where every step's x0 has the data's law: both scores agree at every re-noised state.
        """
        if paradigm in ("dmd2", "sid"):
            return self.solve(lambda k, a, c: a * c - S)
        return self.solve(lambda k, a, c: self._tdm(k, a, c, dimensions, weight))

    def _tdm(self, k: int, a: float, c: float, dimensions: float, weight: str) -> float:
        """E[(x0_F - x0_T) x_k] over the re-noised times of step k; positive where the slope is too large."""
        t_student, mid = self.times[k], self.times[k + 1]
        low, high = max(mid, EARLIEST), t_student - MARGIN
        nodes, weights = np.polynomial.legendre.leggauss(40)
        total = 0.0
        for node, w in zip(nodes, weights, strict=True):
            t = low + (high - low) * (node + 1) / 2
            reach, fresh = renoise_factors(mid, t)
            m = c * euler(t_student, mid, a)  # of x_mid
            gap = fake_slope(a * c, m, reach, fresh, t, dimensions) - teacher_slope(t)
            spread = math.hypot(teacher_slope(t) * reach * m - a * c, teacher_slope(t) * fresh)  # of x0_S - x0_T
            spread = spread if weight == "scaled" else 1.0
            total += w * gap * reach * m / spread
        return total


def renoise_factors(mid: float, t: float) -> tuple[float, float]:
    """x_t = reach x_mid + fresh eps: rectified flow from mid on to t."""
    reach = (1 - t) / (1 - mid)
    return reach, math.sqrt(t**2 - (reach * mid) ** 2)


def fake_slope(q: float, m: float, reach: float, fresh: float, t: float, dimensions: float) -> float:
    """E[x0_S | x_t] / x_t under the importance weights, with x0_S = q z and x_t = reach m z + fresh eps.

    The weights exp((eps² - mixed²) / 2 d), mixed = (x_t - (1 - t) x0_S) / t, tilt the Gaussian law of (z, eps): they
    vanish in many dimensions d, and for d = 1 make x_t what forward diffusion of x0_S would have made it.
    """
    x_t = np.array([reach * m, fresh])
    mixed = (x_t - (1 - t) * np.array([q, 0.0])) / t
    tilt = 0.0 if math.isinf(dimensions) else 1 / dimensions
    precision = np.diag([1.0, 1.0 - tilt]) + tilt * np.outer(mixed, mixed)
    covariance = np.linalg.inv(precision)
    return float(np.array([q, 0.0]) @ covariance @ x_t / (x_t @ covariance @ x_t))
