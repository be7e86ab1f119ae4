"""The solver of a bundle: its manifest lists one table, and names what computes others."""

from dataclasses import dataclass

from moebius_edge.common.errors import InvalidInput
from moebius_edge.inpaint.known_solvers import known_solvers
from moebius_edge.inpaint.solving.protocol import NoiseSchedule, Solver, make_schedule
from moebius_edge.inpaint.solving.table import Schedule, Start, Step


@dataclass(frozen=True)
class Listed:
    """Gives the listed numbers for the steps and strength that they are of, else those of the named solver.

    So a bundle whose solver came after this version runs as its author set it, and is refused otherwise.
    """

    name: str
    noise: NoiseSchedule
    schedule: Schedule  # for the two numbers below
    steps: int
    strength: float

    def timesteps(self, steps: int, strength: float) -> tuple[int, ...]:
        """Choose the training steps to visit, falling.

        Raises InvalidInput when `steps` or `strength` is out of range, or another than the listed one and
        the solver is not known.
        """
        return tuple(step.timestep for step in self.coefficients(steps, strength))

    def start(self, steps: int, strength: float) -> Start:
        """Say how the latents that the loop starts from are mixed. Raises as `timesteps` does."""
        return self._schedule(steps, strength).start

    def coefficients(self, steps: int, strength: float) -> tuple[Step, ...]:
        """Give the table. Raises as `timesteps` does."""
        return self._schedule(steps, strength).steps

    def _schedule(self, steps: int, strength: float) -> Schedule:
        if (steps, strength) == (self.steps, self.strength):
            return self.schedule
        return make_schedule(self._solver(), steps, strength)

    def _solver(self) -> Solver:
        known = known_solvers()
        if self.name not in known:
            raise InvalidInput(
                f"the bundle's solver {self.name!r} is not known here, only {', '.join(known)}: without it "
                f"only {self.steps} steps at strength {self.strength:g} can be run; choose these, or use a "
                "newer moebius-edge"
            )
        return known[self.name](self.noise)
