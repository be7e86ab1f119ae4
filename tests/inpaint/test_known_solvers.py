"""Solvers are found in their folder, and a bundle names one."""

import pkgutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from moebius_edge.common.errors import InvalidInput
from moebius_edge.inpaint import solvers
from moebius_edge.inpaint.known_solvers import find_solver, known_solvers
from moebius_edge.inpaint.listed_solver import Listed
from moebius_edge.inpaint.solvers.ddim import DDIM
from moebius_edge.inpaint.solving.protocol import NoiseSchedule, make_schedule
from moebius_edge.inpaint.solving.table import Schedule, Start, Step

TABLE = Schedule(Start(700, 0.5, 0.75), (Step(700, 1.25, -0.5), Step(10, 1.1, -0.2, 0.3, 0.4, 0.5)))
KNOWN = ", ".join(known_solvers())
TOY = """
from moebius_edge.inpaint.solving.table import Start, Step

class Toy:
    name = "toy"

    def __init__(self, noise):
        self.noise = noise

    def timesteps(self, steps, strength):
        return tuple(reversed(range(steps)))

    def start(self, steps, strength):
        return Start(steps - 1, 0.0, 1.0)

    def coefficients(self, steps, strength):
        return tuple(Step(t, 1.0, -0.1) for t in self.timesteps(steps, strength))
"""


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One module more in the folder."""
    (tmp_path / "toy.py").write_text(TOY)
    monkeypatch.setattr(solvers, "__path__", [*solvers.__path__, str(tmp_path)])
    known_solvers.cache_clear()
    yield
    known_solvers.cache_clear()


def listed(name: str) -> Listed:
    return Listed(name, NoiseSchedule(), TABLE, 2, 0.99)


@pytest.mark.usefixtures("toy")
def test_two_solvers_of_one_name_are_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "toy2.py").write_text(TOY)
    with pytest.raises(RuntimeError, match=r"toy.Toy.* and .*toy2.Toy.* are both called 'toy'; rename one"):
        known_solvers()


def test_ddim_is_found() -> None:
    assert known_solvers()["ddim"] is DDIM
    noise = NoiseSchedule(beta_end=0.02)
    found = find_solver("ddim", noise)
    assert found.name == "ddim" and found.coefficients(5, 1.0) == DDIM(noise).coefficients(5, 1.0)


def test_what_is_no_solver_is_not_found() -> None:
    assert list(known_solvers()) == [each.name for each in pkgutil.iter_modules(solvers.__path__)]
    assert all(name == solver(NoiseSchedule()).name for name, solver in known_solvers().items())


@pytest.mark.usefixtures("toy")
def test_a_module_in_the_folder_is_a_solver() -> None:
    assert {"ddim", "toy"} <= set(known_solvers())
    assert find_solver("toy", NoiseSchedule()).timesteps(3, 1.0) == (2, 1, 0)
    assert make_schedule(listed("toy"), 3, 0.99).steps[0] == Step(2, 1.0, -0.1)


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(
        InvalidInput, match=rf"solver 'other' is not known; .* knows {KNOWN}: use a newer one"
    ):
        find_solver("other", NoiseSchedule())


@pytest.mark.parametrize("name", ["ddim", "of-tomorrow"])
def test_the_listed_table_is_run_whatever_the_solver(name: str) -> None:
    assert make_schedule(listed(name), 2, 0.99) == TABLE
    assert listed(name).timesteps(2, 0.99) == (700, 10)


def test_other_steps_and_strengths_are_the_solvers() -> None:
    for steps, strength in ((3, 0.99), (2, 1.0)):
        assert make_schedule(listed("ddim"), steps, strength) == make_schedule(DDIM(), steps, strength)
        with pytest.raises(InvalidInput) as caught:
            make_schedule(listed("of-tomorrow"), steps, strength)
        assert str(caught.value) == (
            f"the bundle's solver 'of-tomorrow' is not known here, only {KNOWN}: without it only 2 steps at "
            "strength 0.99 can be run; choose these, or use a newer moebius-edge"
        )
