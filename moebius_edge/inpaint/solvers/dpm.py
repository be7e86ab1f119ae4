"""DPM-Solver++(2M) (Lu et al., arXiv 2211.01095, algorithm 2) for a model that predicts noise: numpy only.

Legend: paper symbol -> name here
    t_0 > ... > t_M      timesteps     training steps, as even in λ as whole ones can be ("uniform logSNR")
    α_t                  alpha         sqrt(ᾱ_t), ᾱ_t as in `ddim`
    σ_t                  sigma         sqrt(1 - ᾱ_t)
    λ_t                  log_snr       log(α_t / σ_t), half the logarithm of the signal-to-noise ratio
    h_i                  h             λ_{t_i} - λ_{t_(i-1)}
    1 / (2 r_i)          weight        with r_i = h_(i-1) / h_i
    x_θ(x, t)            the estimate of the clean latents, (x - σ_t ε_θ(x, t)) / α_t

From x at t_(i-1), with the estimate d of that step and the one before, d':

    D_i = (1 + 1 / (2 r_i)) d - 1 / (2 r_i) d'                         in the first step D_1 = d: DDIM's step
    x   = (σ_{t_i} / σ_{t_(i-1)}) x - α_{t_i} (exp(-h_i) - 1) D_i

The last step goes to no noise at all (λ = ∞), which gives the estimate itself.
"""

import math
from bisect import bisect_left
from itertools import pairwise

import numpy as np

from moebius_edge.common.errors import InvalidInput
from moebius_edge.inpaint.solving.protocol import NoiseSchedule, check_length
from moebius_edge.inpaint.solving.table import Start, Step

VISITS = 20  # steps of the grid that `strength` is a part of: the published loop's


class DPM:
    """DPM-Solver++(2M) on a grid that is even in the signal-to-noise ratio. Computed in float64."""

    name = "dpm"

    def __init__(self, noise: NoiseSchedule | None = None) -> None:
        """`noise`: how the model was trained; None: as the published one."""
        self.noise = noise or NoiseSchedule()
        self.alpha_bar = self.noise.alpha_bar()
        self.log_snr = 0.5 * np.log(self.alpha_bar / (1 - self.alpha_bar))

    def timesteps(self, steps: int, strength: float) -> tuple[int, ...]:
        """Choose the training steps to visit, falling to 0: `steps` of them.

        The first one is where DDIM begins with 20 steps at this strength, 900 at 0.99: strength means as much
        noise as there, and `steps` only how finely it is taken away. Raises InvalidInput when `steps` is not
        1 to train_timesteps, `strength` not above 0 and at most 1 or so small that DDIM would run nothing,
        and for more steps than have whole timesteps of their own.
        """
        check_length(steps, strength, self.noise.train_timesteps)
        first = self._first(strength)
        if not _differ(grid := self._grid(steps, first)):
            counts = range(1, steps + 1)  # the more, the nearer: so half of them are ruled out at a time
            most = bisect_left(counts, True, key=lambda count: not _differ(self._grid(count, first)))
            raise InvalidInput(
                f"{steps} steps of the solver dpm at strength {strength}: the log-SNR grid from timestep "
                f"{first} has not so many whole timesteps; use {most} or fewer, or the solver ddim"
            )
        return tuple(grid)

    def start(self, steps: int, strength: float) -> Start:
        """Say where the loop starts: as DDIM, pure noise at strength 1. Raises as `timesteps` does."""
        first = self.timesteps(steps, strength)[0]
        if strength == 1:
            return Start(first, 0.0, 1.0)
        return Start(first, *self._scales(first))

    def coefficients(self, steps: int, strength: float) -> tuple[Step, ...]:
        """Compute the loop as numbers. Raises as `timesteps` does."""
        timesteps = self.timesteps(steps, strength)
        table = []
        h_before = math.inf  # D_1 has no second-order term
        for here, there in pairwise(timesteps):
            (alpha, sigma), (alpha_next, sigma_next) = self._scales(here), self._scales(there)
            # 1. d = (x - σ ε) / α
            p, q = 1 / alpha, -sigma / alpha
            # 2. h_i and 1 / (2 r_i)
            h = math.log(alpha_next / sigma_next) - math.log(alpha / sigma)
            weight = h / (2 * h_before)
            # 3. x = (σ' / σ) x - α' (exp(-h) - 1) D_i, and D_i in terms of x, ε and d'
            gain = -alpha_next * math.expm1(-h)
            a, b = sigma_next / sigma + gain * (1 + weight) * p, gain * (1 + weight) * q
            table.append(Step(here, a, b, -gain * weight, p, q))
            h_before = h
        alpha, sigma = self._scales(timesteps[-1])
        return (*table, Step(timesteps[-1], 1 / alpha, -sigma / alpha, 0.0, 1 / alpha, -sigma / alpha))

    def _first(self, strength: float) -> int:
        visits = min(VISITS, self.noise.train_timesteps)
        run = int(visits * strength)
        if run == 0:
            raise InvalidInput(f"strength {strength} leaves nothing to run; use 1 / {visits} or more")
        return (run - 1) * (self.noise.train_timesteps // visits)

    def _grid(self, steps: int, first: int) -> list[int]:
        """Of the training steps, those nearest to `steps` values of λ from that of `first` to that of 0."""
        wanted = np.linspace(self.log_snr[first], self.log_snr[0], steps)
        return [int(np.abs(self.log_snr - value).argmin()) for value in wanted]

    def _scales(self, timestep: int) -> tuple[float, float]:
        """Give α and σ."""
        return math.sqrt(self.alpha_bar[timestep]), math.sqrt(1 - self.alpha_bar[timestep])


def _differ(grid: list[int]) -> bool:
    return len(set(grid)) == len(grid)
