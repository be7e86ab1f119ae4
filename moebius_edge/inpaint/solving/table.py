"""A solver's table: the numbers that a loop executes, whatever solver made them.

A step predicts the noise ε at its timestep and then does

    x <- a x + b ε + c d      x: the latents; d: the previous step's estimate of the clean latents, at first 0
    d <- p x + q ε            with the x from before the step

which is every solver that is linear in the latents, the noise and the estimate before. One without memory has
c = p = q = 0.
"""

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace

import numpy as np
from numpy.typing import NDArray

COEFFICIENTS = ("a", "b", "c", "p", "q")  # of a row, in its order


@dataclass(frozen=True)
class Step:
    """One row of the table; the letters are those of the equations above."""

    timestep: int  # of the training, 0 to train_timesteps - 1: where the noise is predicted
    a: float
    b: float
    c: float = 0.0
    p: float = 0.0
    q: float = 0.0


def as_array(steps: Sequence[Step]) -> NDArray[np.float32]:
    """Lay the rows out for a device: [S,6] with timestep, a, b, c, p, q, rounded as the loop rounds them."""
    return np.array([astuple(step) for step in steps], np.float32)


@dataclass(frozen=True)
class Start:
    """How the loop starts: latents = sqrt_alpha_bar * image latents + sqrt_one_minus_alpha_bar * noise.

    At strength 1 this is (0, 1): pure noise, as published, although alpha_bar is not quite 0 there.
    """

    timestep: int
    sqrt_alpha_bar: float
    sqrt_one_minus_alpha_bar: float


@dataclass(frozen=True)
class Schedule:
    """The numbers of one loop; a manifest stores those of the default steps and strength."""

    start: Start
    steps: tuple[Step, ...]


def refining(schedule: Schedule, alpha_bar: NDArray[np.float64], strength: float) -> Schedule | None:
    """Cut the part off a schedule that goes over a picture once more: SDEdit (Meng et al., arXiv 2108.01073).

    `alpha_bar` is of the noise schedule, one for each training step. The rows are those below `strength` (0
    to 1) of the training steps. The first one of them has no estimate before it, so it takes its own for
    that: d = p x + q ε in a x + b ε + c d. Returns None if no row is left.
    """
    rows = [row for row in schedule.steps if row.timestep < strength * len(alpha_bar)]
    if not rows:
        return None
    first = rows[0]
    alone = replace(first, a=first.a + first.c * first.p, b=first.b + first.c * first.q, c=0.0)
    signal = float(alpha_bar[first.timestep])
    start = Start(first.timestep, math.sqrt(signal), math.sqrt(1 - signal))
    return Schedule(start, (alone, *rows[1:]))
