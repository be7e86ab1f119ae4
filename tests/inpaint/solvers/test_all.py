"""What every solver of the folder promises, whichever they are."""

import numpy as np
import pytest

from moebius_edge.common.errors import InvalidInput
from moebius_edge.inpaint.known_solvers import find_solver, known_solvers
from moebius_edge.inpaint.loop import update
from moebius_edge.inpaint.solving.protocol import NoiseSchedule, Solver, make_schedule

LENGTHS = ((20, 0.99), (8, 1.0), (5, 0.6))


@pytest.fixture(params=known_solvers())
def solver(request: pytest.FixtureRequest) -> Solver:
    return find_solver(request.param, NoiseSchedule())


@pytest.mark.parametrize("length", LENGTHS)
def test_a_table_is_one_that_a_manifest_takes(solver: Solver, length: tuple[int, float]) -> None:
    schedule = make_schedule(solver, *length)
    timesteps = [step.timestep for step in schedule.steps]
    assert timesteps == list(solver.timesteps(*length))
    assert timesteps == sorted(set(timesteps) & set(range(1000)), reverse=True)
    assert 1 <= len(timesteps) <= length[0]
    assert schedule.start.timestep == timesteps[0]


@pytest.mark.parametrize("length", LENGTHS)
def test_with_the_true_noise_the_loop_returns_the_picture(solver: Solver, length: tuple[int, float]) -> None:
    """If every prediction is the noise that was added, a consistent solver ends in what it was added to."""
    schedule = make_schedule(solver, *length)
    alpha_bar = NoiseSchedule().alpha_bar()[schedule.start.timestep]
    picture, noise = np.random.default_rng(0).standard_normal((2, 64)).astype(np.float32)
    latents = np.float32(alpha_bar**0.5) * picture + np.float32((1 - alpha_bar) ** 0.5) * noise
    estimate = np.zeros_like(latents)
    for step in schedule.steps:
        latents, estimate = update(step, latents, noise, estimate)
    np.testing.assert_allclose(latents, picture, atol=1e-3)


@pytest.mark.parametrize(("steps", "strength"), [(0, 0.99), (1001, 0.99), (20, 0.0), (20, 1.01)])
def test_impossible_lengths_are_refused(solver: Solver, steps: int, strength: float) -> None:
    with pytest.raises(InvalidInput):
        make_schedule(solver, steps, strength)
