"""What a solver is asked for, and what it is made from: the noise schedule of the model's training."""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from moebius_edge.common.errors import InvalidInput
from moebius_edge.inpaint.solving.table import Schedule, Start, Step

MAX_TRAIN_TIMESTEPS = 10_000  # the published model has 1,000
LEAST = 1e-9  # of variance that must be left, and lost: solvers divide by both


@dataclass(frozen=True)
class NoiseSchedule:
    """The training noise schedule. The defaults are the published model's.

    Raises InvalidInput for a schedule of another kind, or one that cannot be.
    """

    beta_start: float = 0.00085  # β of the first training step
    beta_end: float = 0.012  # β of the last one
    beta_schedule: str = "scaled_linear"  # sqrt(β) is linear in t; the only one known
    train_timesteps: int = 1000
    prediction: str = "epsilon"  # the model predicts the noise; the only one known

    def __post_init__(self) -> None:
        for name, value in {"beta_schedule": "scaled_linear", "prediction": "epsilon"}.items():
            if getattr(self, name) != value:
                raise InvalidInput(f"scheduler {name} is {getattr(self, name)!r}; only {value!r} is known")
        if not 0.0 < self.beta_start <= self.beta_end < 1.0 or self.train_timesteps < 1:
            raise InvalidInput("scheduler: expected 0 < beta_start <= beta_end < 1 and train_timesteps >= 1")
        if self.train_timesteps > MAX_TRAIN_TIMESTEPS:
            raise InvalidInput(
                f"scheduler train_timesteps is {self.train_timesteps}; expected at most {MAX_TRAIN_TIMESTEPS}"
            )
        alpha_bar = self.alpha_bar()
        most, least = float(alpha_bar[0]), float(alpha_bar[-1])
        if most > 1 - LEAST or least < LEAST:
            raise InvalidInput(
                f"the noise schedule leaves {most:g} of the signal's variance after the first training step, "
                f"{least:g} after the last; expected {LEAST:g} or more less than 1, and {LEAST:g} or more"
            )

    def alpha_bar(self) -> NDArray[np.float64]:
        """Compute ᾱ_t = Π_{s<=t} (1 - β_s) for each training step, [train_timesteps], falling from near 1.

        Ho et al., arXiv 2006.11239, eq. 4.
        """
        root = np.linspace(math.sqrt(self.beta_start), math.sqrt(self.beta_end), self.train_timesteps)
        return np.cumprod(1.0 - root**2, dtype=np.float64)


class Solver(Protocol):
    """Which timesteps the loop visits, and what each does to the latents. All in float64."""

    @property
    def name(self) -> str:
        """Name the solver as a manifest does: lower-case letters, digits, `_`, `.`, `-`."""
        ...

    @property
    def noise(self) -> NoiseSchedule:
        """Give the noise schedule that it was made for."""
        ...

    def timesteps(self, steps: int, strength: float) -> tuple[int, ...]:
        """Choose the training steps to visit, falling, at most `steps` of them.

        `strength`, above 0 and at most 1, is how much noise the loop starts with. Raises
        InvalidInput when one of the two is out of range, or nothing is left to run.
        """
        ...

    def start(self, steps: int, strength: float) -> Start:
        """Say how the latents that the loop starts from are mixed. Raises as `timesteps` does."""
        ...

    def coefficients(self, steps: int, strength: float) -> tuple[Step, ...]:
        """Compute the table, a row for each of `timesteps`. Raises as `timesteps` does."""
        ...


def make_schedule(solver: Solver, steps: int, strength: float) -> Schedule:
    """Ask a solver for the numbers of one loop. Raises InvalidInput as its `timesteps` does."""
    return Schedule(solver.start(steps, strength), solver.coefficients(steps, strength))


def check_length(steps: int, strength: float, limit: int) -> None:
    """Raise InvalidInput unless `steps` is a whole number of 1 to `limit` and `strength` in (0, 1]."""
    if isinstance(steps, bool) or not isinstance(steps, int | np.integer) or not 1 <= steps <= limit:
        raise InvalidInput(f"steps is {steps!r}; expected a whole number from 1 to {limit}")
    if isinstance(strength, bool) or not isinstance(strength, int | float) or not 0 < strength <= 1:
        raise InvalidInput(f"strength is {strength!r}; expected a number above 0 and at most 1")
