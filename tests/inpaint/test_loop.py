"""The host's loop executes a solver's table, whatever its order."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from moebius_edge.common.tensors import Array
from moebius_edge.inpaint.loop import continued, denoise, update
from moebius_edge.inpaint.solvers.ddim import DDIM
from moebius_edge.inpaint.solvers.dpm import DPM
from moebius_edge.inpaint.solving.protocol import make_schedule
from moebius_edge.inpaint.solving.table import Step, refining


class Normal:
    """The exact denoiser for clean latents that are normal with deviation S."""

    name = "normal"
    S = 0.7

    def run(self, graph: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        alpha_bar = DDIM().alpha_bar[int(inputs["timestep"][0])]
        variance = alpha_bar * self.S**2 + 1 - alpha_bar
        return {"noise": np.float32(np.sqrt(1 - alpha_bar) / variance) * inputs["latents"]}

    def release(self, graph: str) -> None:
        """Nothing is held."""


def draw() -> Array:
    return np.random.default_rng(4).standard_normal((1, 4, 4, 4)).astype(np.float32)


def solve(table: tuple[Step, ...]) -> Array:
    return denoise(Normal(), draw(), np.zeros((1, 1, 4, 4), np.float32), draw(), table, 1.0)


def exact() -> Array:
    """The flow keeps every value at the same quantile of its normal distribution."""
    alpha_bar = DDIM().alpha_bar[900]
    return draw() * np.float32(Normal.S / np.sqrt(alpha_bar * Normal.S**2 + 1 - alpha_bar))


def test_the_second_order_table_reaches_the_exact_solution() -> None:
    error, ddim = (
        np.abs(solve(table) - exact()).max()
        for table in (DPM().coefficients(8, 0.99), DDIM().coefficients(20, 0.99))
    )
    assert error < 0.5 * ddim
    forgetful = tuple(replace(step, c=0.0) for step in DPM().coefficients(8, 0.99))
    assert np.abs(solve(forgetful) - exact()).max() > 10 * error


def test_without_memory_it_is_ddims_update_to_the_bit() -> None:
    latents, noise, estimate = draw(), draw()[..., ::-1], np.full_like(draw(), np.inf)
    for step in DDIM().coefficients(20, 0.99):
        found, after = update(step, latents, noise, estimate)
        expected = np.float32(step.a) * latents + np.float32(step.b) * noise
        assert found.tobytes() == expected.tobytes()
        assert not after.any()


@pytest.mark.parametrize("name", ["a", "b", "c", "p", "q"])
def test_each_number_of_a_row_counts(name: str) -> None:
    step = Step(500, 1.5, -0.5, 0.25, 2.0, -3.0)
    arrays = draw(), draw()[..., ::-1], draw()[:, ::-1]
    pairs = zip(update(step, *arrays), update(replace(step, **{name: 0.0}), *arrays), strict=True)
    assert [bool((one != other).any()) for one, other in pairs] == [name in "abc", name in "pq"]


def test_what_is_around_a_hole_goes_on_in_it() -> None:
    """Whatever the encoder made of the grey in the hole, and in the ring beside it, is gone."""
    mask = np.zeros((1, 1, 8, 8), np.float32)
    mask[0, 0, 3:5, 2:6] = 1
    latents = np.broadcast_to(np.float32([3, -1, 0, 2]).reshape(1, 4, 1, 1), (1, 4, 8, 8)).copy()
    clean = latents.copy()
    latents[:, :, 2:6, 1:7] = 99
    assert np.allclose(continued(latents, mask), clean, atol=1e-6)
    everything = np.ones_like(mask)
    everything[0, 0, 0, 0] = 0
    assert np.array_equal(continued(latents, everything), latents), "nothing is left around it"


@pytest.mark.parametrize("solver", [DDIM(), DPM()])
def test_a_refining_table_begins_with_its_own_estimate(solver: DDIM | DPM) -> None:
    schedule = make_schedule(solver, 8, 0.99)
    refined = refining(schedule, solver.alpha_bar, 0.5)
    assert refined is not None
    visited = [step.timestep for step in refined.steps]
    assert visited == [step.timestep for step in schedule.steps if step.timestep < 500]
    row, first = schedule.steps[-len(visited)], refined.steps[0]
    assert (row.c != 0) == (solver.name == "dpm") and first.c == 0
    assert refined.steps[1:] == schedule.steps[-len(visited) + 1 :]
    x, noise = draw(), draw()[..., ::-1]
    own = np.float32(row.p) * x + np.float32(row.q) * noise
    moved, estimate = update(first, x, noise, np.zeros_like(x))
    assert np.allclose(moved, update(row, x, noise, own)[0], atol=1e-5)
    assert np.array_equal(estimate, update(row, x, noise, own)[1])
    alpha = solver.alpha_bar[visited[0]]
    assert refined.start.sqrt_alpha_bar**2 == pytest.approx(alpha)
    assert refined.start.sqrt_one_minus_alpha_bar**2 == pytest.approx(1 - alpha)
    assert refining(schedule, solver.alpha_bar, 0.0) is None
