"""Solvers on a problem whose exact solution is known: data that are normal with deviation S."""

import pytest

from moebius_edge.common.errors import InvalidInput
from moebius_edge.inpaint.solvers.ddim import DDIM
from moebius_edge.inpaint.solvers.dpm_table import dpm_table, log_snr_grid
from moebius_edge.inpaint.solvers.table import Step

S = 0.7
GRID = [900, 727, 507, 266, 94, 23, 4, 0]


def solve(table: tuple[Step, ...], start: float = 1.0) -> float:
    """The clean value that the table leads to from `start` with the exact noise prediction."""
    x, estimate = start, 0.0
    for step in table:
        alpha_bar = float(DDIM().alpha_bar[step.timestep])
        noise = (1 - alpha_bar) ** 0.5 * x / (alpha_bar * S**2 + 1 - alpha_bar)
        moved = step.a * x + step.b * noise + step.c * estimate
        estimate = step.p * x + step.q * noise
        x = moved
    return x


def exact(start: float = 1.0) -> float:
    """The flow keeps every value at the same quantile of its normal distribution."""
    alpha_bar = float(DDIM().alpha_bar[900])
    return start * S / (alpha_bar * S**2 + 1 - alpha_bar) ** 0.5


def error(table: tuple[Step, ...]) -> float:
    return abs(solve(table) - exact())


def test_few_steps_are_as_exact_as_many_of_ddim_and_of_second_order() -> None:
    assert error(dpm_table(8)) < 0.5 * error(DDIM().coefficients(20, 0.99))
    assert error(dpm_table(6)) < error(DDIM().coefficients(20, 0.99))
    assert 3 < error(dpm_table(13)) / error(dpm_table(26)) < 6


def test_the_grid_is_even_in_log_snr() -> None:
    assert log_snr_grid(8) == GRID
    assert log_snr_grid(1) == [900]


def test_the_first_step_is_ddims_and_the_last_gives_the_estimate() -> None:
    first, *_, last = dpm_table(8)
    here, there = (float(DDIM().alpha_bar[t]) for t in GRID[:2])
    a = (there / here) ** 0.5
    assert (first.a, first.b) == pytest.approx((a, (1 - there) ** 0.5 - a * (1 - here) ** 0.5))
    assert first.c == 0
    assert (last.a, last.b, last.c) == (last.p, last.q, 0)


@pytest.mark.parametrize("steps", [0, 40])
def test_impossible_numbers_of_steps_are_refused(steps: int) -> None:
    with pytest.raises(InvalidInput, match="log-SNR grid"):
        dpm_table(steps)
    with pytest.raises(InvalidInput, match="first timestep"):
        dpm_table(4, first=0)
