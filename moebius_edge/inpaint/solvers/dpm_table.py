"""DPM-Solver++(2M) as a table of `moebius_edge.inpaint.solvers.table`, on a grid that is even in log-SNR.

Lu et al., arXiv 2211.01095, algorithm 2, for a model that predicts noise. Legend, paper -> here:
α_t -> alpha, σ_t -> sigma, λ_t = log(α_t / σ_t) -> log_snr (half the logarithm of the signal-to-noise ratio),
h_i -> h, r_i = h_(i-1) / h_i -> 1 / (2 weight).
"""

import math
from itertools import pairwise

import numpy as np

from moebius_edge.common.errors import InvalidInput
from moebius_edge.inpaint.solvers.ddim import DDIM
from moebius_edge.inpaint.solvers.table import Step

FIRST = 900  # the timestep at which the loop starts: the published loop's, 20 steps at strength 0.99


def log_snr_grid(steps: int, first: int = FIRST) -> list[int]:
    """Return `steps` timesteps from `first` to 0, as even in log-SNR as they can be.

    Raises `InvalidInput` for a `first` that is no timestep above 0 and for more steps than the grid has
    timesteps.
    """
    alpha_bar = DDIM().alpha_bar
    if not 0 < first < len(alpha_bar):
        raise InvalidInput(f"the first timestep is {first}; expected 1 to {len(alpha_bar) - 1}")
    log_snr = 0.5 * np.log(alpha_bar / (1 - alpha_bar))
    wanted = np.linspace(log_snr[first], log_snr[0], steps) if steps > 1 else log_snr[[first]]
    grid = [int(np.abs(log_snr - value).argmin()) for value in wanted]
    if steps < 1 or len(set(grid)) < steps:
        raise InvalidInput(f"{steps} steps; the log-SNR grid has whole timesteps for 1 to about 26")
    return grid


def dpm_table(steps: int, first: int = FIRST) -> tuple[Step, ...]:
    """Return the steps of DPM-Solver++(2M) on the log-SNR grid.

    The last step, to no noise at all, gives the estimate itself.
    """
    alpha_bar = DDIM().alpha_bar
    grid = log_snr_grid(steps, first)
    table = []
    h_before = math.inf  # no second-order term in the first step
    for here, there in pairwise(grid):
        alpha, sigma = math.sqrt(alpha_bar[here]), math.sqrt(1 - alpha_bar[here])
        alpha_next, sigma_next = math.sqrt(alpha_bar[there]), math.sqrt(1 - alpha_bar[there])
        # 1. the estimate of the clean latents, (x - σ e) / α
        p, q = 1 / alpha, -sigma / alpha
        # 2. h = λ' - λ, and 1 / (2 r)
        h = math.log(alpha_next / sigma_next) - math.log(alpha / sigma)
        weight = h / (2 * h_before)
        # 3. x' = (σ' / σ) x - α' (exp(-h) - 1) ((1 + 1/(2r)) d' - 1/(2r) d)
        gain = -alpha_next * math.expm1(-h)
        a, b = sigma_next / sigma + gain * (1 + weight) * p, gain * (1 + weight) * q
        table.append(Step(here, a, b, -gain * weight, p, q))
        h_before = h
    alpha, sigma = math.sqrt(alpha_bar[grid[-1]]), math.sqrt(1 - alpha_bar[grid[-1]])
    return (*table, Step(grid[-1], 1 / alpha, -sigma / alpha, 0.0, 1 / alpha, -sigma / alpha))
