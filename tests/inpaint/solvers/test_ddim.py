"""DDIM: which timesteps, which coefficients, and that they invert what the noise did."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moebius_edge.common.errors import InvalidInput
from moebius_edge.inpaint.solvers.ddim import DDIM
from moebius_edge.inpaint.solving.protocol import NoiseSchedule


@pytest.mark.parametrize(
    ("steps", "strength", "count", "first", "last"),
    [
        (20, 0.99, 19, 900, 0),
        (10, 0.99, 9, 800, 0),
        (5, 0.6, 3, 400, 0),
        (8, 1.0, 8, 875, 0),
        (7, 1, 7, 852, 0),
    ],
)
def test_timesteps_are_leading(steps: int, strength: float, count: int, first: int, last: int) -> None:
    timesteps = DDIM().timesteps(steps, strength)
    assert (len(timesteps), timesteps[0], timesteps[-1]) == (count, first, last)
    assert {a - b for a, b in itertools.pairwise(timesteps)} == {1000 // steps}


@pytest.mark.parametrize(
    ("steps", "strength", "sum_a", "sum_b"),
    [
        (20, 0.99, 21.30907095635457, -3.017926321006144),
        (10, 0.99, 10.898216895051764, -2.6179564655084624),
        (5, 0.6, 3.4843031999519822, -1.0860123345019028),
        (8, 1.0, 10.445821196664188, -3.1799978124256083),
    ],
)
def test_the_sums_over_the_loop_are_pinned(steps: int, strength: float, sum_a: float, sum_b: float) -> None:
    coefficients = DDIM().coefficients(steps, strength)
    assert sum(step.a for step in coefficients) == pytest.approx(sum_a, rel=1e-12), "a of the steps"
    assert sum(step.b for step in coefficients) == pytest.approx(sum_b, rel=1e-12), "b of the steps"


def test_the_coefficients_are_those_of_diffusers() -> None:
    torch = pytest.importorskip("torch")
    from diffusers import DDIMScheduler  # noqa: PLC0415

    theirs = DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False
    )
    theirs.set_timesteps(20)
    coefficients = DDIM().coefficients(20, 0.99)
    assert theirs.timesteps.tolist()[1:] == [step.timestep for step in coefficients]
    one, zero = torch.ones(1), torch.zeros(1)
    for step in coefficients:
        a = theirs.step(zero, step.timestep, one).prev_sample.item()
        b = theirs.step(one, step.timestep, zero).prev_sample.item()
        assert step.a == pytest.approx(a, rel=1e-5), f"a at {step.timestep}"
        assert step.b == pytest.approx(b, rel=1e-4), f"b at {step.timestep}"


@given(steps=st.integers(1, 200), strength=st.floats(0.05, 1.0), seed=st.integers(0, 99))
def test_the_loop_with_the_true_noise_returns_the_picture(steps: int, strength: float, seed: int) -> None:
    """With ε known exactly, DDIM leads from x_t straight back to x_0 (eq. 4 and 12)."""
    solver = DDIM()
    if int(steps * strength) == 0:
        return
    picture, noise = np.random.default_rng(seed).standard_normal((2, 16)).astype(np.float32)
    coefficients = solver.coefficients(steps, strength)
    alpha = solver.alpha_bar[coefficients[0].timestep]
    latents = math.sqrt(alpha) * picture + math.sqrt(1 - alpha) * noise
    for step in coefficients:
        latents = step.a * latents + step.b * noise
    assert np.abs(latents - picture).max() < 1e-4


def test_the_start_is_noised_latents_or_pure_noise() -> None:
    solver = DDIM()
    start = solver.start(20, 0.99)
    assert start.timestep == 900
    assert start.sqrt_alpha_bar**2 + start.sqrt_one_minus_alpha_bar**2 == pytest.approx(1.0, rel=1e-9)
    assert start.sqrt_alpha_bar == pytest.approx(0.1189585724934209, rel=1e-12)
    pure = solver.start(20, 1.0)
    assert (pure.timestep, pure.sqrt_alpha_bar, pure.sqrt_one_minus_alpha_bar) == (950, 0.0, 1.0)


@pytest.mark.parametrize(
    ("steps", "strength", "says"),
    [
        (0, 0.99, "steps is 0"),
        (-3, 0.99, "steps is -3"),
        (1001, 0.99, "from 1 to 1000"),
        (2.5, 0.99, "steps is 2.5"),
        (20, 0.0, "strength is 0.0"),
        (20, 1.01, "strength is 1.01"),
        (20, math.nan, "strength is nan"),
        (20, "1", "strength is '1'"),
        (1, 0.99, "leave none to run"),
    ],
)
def test_impossible_steps_and_strengths_are_refused(steps: int, strength: float, says: str) -> None:
    for call in (DDIM().timesteps, DDIM().coefficients, DDIM().start):
        with pytest.raises(InvalidInput, match=says):
            call(steps, strength)


@pytest.mark.parametrize(
    "change",
    [{"beta_schedule": "linear"}, {"prediction": "v_prediction"},
     {"beta_start": 0.0}, {"beta_end": math.nan}, {"train_timesteps": 0}],
)  # fmt: skip
def test_unknown_schedules_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(InvalidInput, match="scheduler"):
        NoiseSchedule(**change)  # type: ignore[arg-type]
