"""Noise schedules that a solver can divide by, and those that none can."""

import pytest

from moebius_edge.common.errors import InvalidInput
from moebius_edge.inpaint.known_solvers import find_solver, known_solvers
from moebius_edge.inpaint.solving.protocol import MAX_TRAIN_TIMESTEPS, NoiseSchedule


@pytest.mark.parametrize(
    "wrong",
    [
        {"beta_start": 0.9999999, "beta_end": 0.99999999},
        {"beta_start": 0.5, "beta_end": 0.9},
        {"beta_start": 1e-17, "beta_end": 1e-17},
        {"train_timesteps": MAX_TRAIN_TIMESTEPS + 1},
        {"train_timesteps": 0},
        {"beta_end": float("nan")},
    ],
)
def test_what_no_solver_can_run_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InvalidInput, match="schedule"):
        NoiseSchedule(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("solver", known_solvers())
def test_a_long_schedule_is_refused_or_run_by_its_number_of_steps(solver: str) -> None:
    noise = NoiseSchedule(beta_start=1e-5, beta_end=1e-3, train_timesteps=MAX_TRAIN_TIMESTEPS)
    made = find_solver(solver, noise)
    assert len(made.timesteps(20, 0.99)) <= 20
    try:
        made.timesteps(1000, 0.99)
    except InvalidInput as error:
        most = int(str(error).partition(" use ")[2].split()[0])
        assert len(made.timesteps(most, 0.99)) == most
