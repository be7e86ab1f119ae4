"""Which solvers there are: each module of the folder `solvers` that has a class with a `name`."""

import importlib
import pkgutil
from collections.abc import Callable
from functools import cache

from moebius_edge.common.errors import InvalidInput
from moebius_edge.inpaint import solvers
from moebius_edge.inpaint.solving.protocol import NoiseSchedule, Solver

MakeSolver = Callable[[NoiseSchedule], Solver]


@cache
def known_solvers() -> dict[str, MakeSolver]:
    """Find the solvers' classes by their names, in the order of the names.

    Raises RuntimeError for two of one name.
    """
    found: dict[str, MakeSolver] = {}
    for module in pkgutil.iter_modules(solvers.__path__):
        members = vars(importlib.import_module(f"{solvers.__name__}.{module.name}"))
        for member in members.values():
            own = isinstance(member, type) and member.__module__ == members["__name__"]
            if own and isinstance(name := vars(member).get("name"), str):
                if name in found:
                    raise RuntimeError(f"{found[name]} and {member} are both called {name!r}; rename one")
                found[name] = member
    return dict(sorted(found.items()))


def find_solver(name: str, noise: NoiseSchedule) -> Solver:
    """Make the solver of this name for a noise schedule. Raises InvalidInput for a name that is not known."""
    known = known_solvers()
    if name not in known:
        raise InvalidInput(
            f"the solver {name!r} is not known; this moebius-edge knows {', '.join(known)}: use a newer one"
        )
    return known[name](noise)
