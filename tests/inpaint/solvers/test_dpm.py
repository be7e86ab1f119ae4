"""Solvers on a problem whose exact solution is known: data that are normal with deviation S."""

import numpy as np
import pytest

from moebius_edge.common.errors import InvalidInput
from moebius_edge.inpaint.solvers.ddim import DDIM
from moebius_edge.inpaint.solvers.dpm import DPM
from moebius_edge.inpaint.solving.protocol import NoiseSchedule
from moebius_edge.inpaint.solving.table import Step

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


def dpm_table(steps: int, strength: float = 0.99) -> tuple[Step, ...]:
    return DPM().coefficients(steps, strength)


def error(table: tuple[Step, ...]) -> float:
    return abs(solve(table) - exact())


def test_few_steps_are_as_exact_as_many_of_ddim_and_of_second_order() -> None:
    assert error(dpm_table(8)) < 0.5 * error(DDIM().coefficients(20, 0.99))
    assert error(dpm_table(6)) < error(DDIM().coefficients(20, 0.99))
    assert 3 < error(dpm_table(13)) / error(dpm_table(26)) < 6


def test_the_grid_is_even_in_log_snr() -> None:
    assert list(DPM().timesteps(8, 0.99)) == GRID
    assert DPM().timesteps(1, 0.99) == (900,)
    log_snr = DPM().log_snr[list(DPM().timesteps(5, 0.99))]
    np.testing.assert_allclose(np.diff(log_snr), np.diff(log_snr).mean(), rtol=0.1)


@pytest.mark.parametrize("strength", [1.0, 0.99, 0.6, 0.1])
def test_it_starts_where_20_steps_of_ddim_would(strength: float) -> None:
    noise = NoiseSchedule(beta_end=0.02)
    assert DPM(noise).start(2, strength) == DDIM(noise).start(20, strength)


def test_another_noise_schedule_gives_another_table() -> None:
    assert DPM(NoiseSchedule(beta_end=0.02)).coefficients(8, 0.99) != dpm_table(8)
    assert DPM(NoiseSchedule(train_timesteps=10)).timesteps(2, 1.0) == (9, 0)


def test_the_grid_has_timesteps_for_the_usual_numbers_of_steps() -> None:
    assert [len(dpm_table(steps)) for steps in range(1, 27)] == list(range(1, 27))


def test_the_first_step_is_ddims_and_the_last_gives_the_estimate() -> None:
    first, *_, last = dpm_table(8)
    here, there = (float(DDIM().alpha_bar[t]) for t in GRID[:2])
    a = (there / here) ** 0.5
    assert (first.a, first.b) == pytest.approx((a, (1 - there) ** 0.5 - a * (1 - here) ** 0.5))
    assert first.c == 0
    assert (last.a, last.b, last.c) == (last.p, last.q, 0)


@pytest.mark.parametrize(
    ("steps", "strength", "words"),
    [
        (0, 0.99, "steps is 0; expected a whole number from 1 to 1000"),
        (40, 0.99, r"40 steps .* log-SNR grid from timestep 900 .*; use 2\d or fewer, or the solver ddim"),
        (2, 0.05, "from timestep 0 has not so many whole timesteps; use 1 or fewer"),
        (4, 0.04, "strength 0.04 leaves nothing to run; use 1 / 20 or more"),
    ],
)
def test_impossible_numbers_of_steps_are_refused(steps: int, strength: float, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        dpm_table(steps, strength)
