"""A solver's table: the numbers that a loop executes, whatever solver made them.

A step predicts the noise ε at its timestep and then does

    x <- a x + b ε + c d      x: the latents; d: the previous step's estimate of the clean latents, at first 0
    d <- p x + q ε            with the x from before the step

which is every solver that is linear in the latents, the noise and the estimate before. One without memory has
c = p = q = 0.
"""

from collections.abc import Sequence
from dataclasses import astuple, dataclass

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
