import math
import time
from pathlib import Path

import pytest
import torch

from moebius_edge.common.errors import CheckpointError
from moebius_edge.training.loop import Budget, Clock, Report, load_state, save_state, train


def test_time_stopped_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    clock = Clock(Budget(minutes=1.0))
    for _ in range(10):
        now[0] += 1.0
        clock.tick()
    now[0] += 600.0
    clock.tick()
    assert clock.seconds == pytest.approx(11.0)
    assert clock.progress == pytest.approx(11 / 60)


def test_all_time_of_a_lent_machine_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    clock = Clock(Budget(minutes=1.0, wall=True))
    for _ in range(10):
        now[0] += 1.0
        clock.tick()
    now[0] += 20.0
    clock.skip()
    clock.tick()
    assert clock.seconds == pytest.approx(30.0)


def test_a_report_is_the_mean_since_the_last_one() -> None:
    report = Report()
    for loss in (1.0, 3.0):
        report.add(torch.tensor(loss), 4)
    assert report.line().startswith("loss 2.0000  ")
    report.add(torch.tensor(5.0), 4)
    assert not report.due()
    assert report.line().startswith("loss 5.0000  ")


def test_a_run_that_diverges_is_not_saved() -> None:
    saved: list[bool] = []
    clock = Clock(Budget(steps=3))
    with pytest.raises(CheckpointError, match="diverged"):
        train(clock, lambda: torch.tensor(math.nan), saved.append)
    assert not saved


def test_a_lent_machines_schedule_begins_with_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    clock = Clock(Budget(minutes=2.0, wall=True))
    now[0] += 60.0
    clock.begin()
    assert (clock.progress, clock.budget.minutes) == (0.0, pytest.approx(1.0))
    now[0] += 30.0
    clock.tick()
    assert clock.progress == pytest.approx(0.5)


def test_a_budget_of_steps_ignores_time() -> None:
    clock = Clock(Budget(minutes=0.0, steps=4))
    progress = []
    while not clock.done:
        progress.append(clock.progress)
        clock.tick()
    assert progress == [0.0, 0.25, 0.5, 0.75]


def test_an_interrupt_saves() -> None:
    saved = []
    clock = Clock(Budget(steps=10))

    def step() -> torch.Tensor:
        if clock.steps == 3:
            raise KeyboardInterrupt
        return torch.tensor(1.0)

    with pytest.raises(KeyboardInterrupt):
        train(clock, step, lambda last: saved.append((clock.steps, last)))
    assert saved == [(3, True)]


def test_a_checkpoint_is_read_as_it_was_written(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(3)
    torch.rand(5, generator=generator)
    save_state(tmp_path / "x.pt", {"noise": generator.get_state(), "tensor": torch.arange(3)})
    state, other = load_state(tmp_path / "x.pt"), torch.Generator()
    other.set_state(state["noise"])
    assert torch.equal(torch.rand(4, generator=generator), torch.rand(4, generator=other))
    assert torch.equal(state["tensor"], torch.arange(3))
    assert [path.name for path in tmp_path.iterdir()] == ["x.pt"]


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(CheckpointError, match=r"x\.pt is not a checkpoint"):
        load_state(tmp_path / "x.pt")
