import time
from pathlib import Path

import numpy as np
import pytest
import torch

from moebius_edge.errors import CheckpointError
from moebius_edge.training.loop import (
    Budget,
    Clock,
    generator_state,
    load_state,
    restore_generator,
    save_state,
    train,
)


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

    def step() -> float:
        if clock.steps == 3:
            raise KeyboardInterrupt
        return 1.0

    train(clock, step, lambda: saved.append(clock.steps))
    assert saved == [3]


def test_generators_go_on_after_a_checkpoint(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    rng.random(5)
    save_state(tmp_path / "x.pt", {"rng": generator_state(rng), "tensor": torch.arange(3)})
    state = load_state(tmp_path / "x.pt")
    other = np.random.default_rng(0)
    restore_generator(other, state["rng"])
    assert np.array_equal(rng.random(4), other.random(4))
    assert torch.equal(state["tensor"], torch.arange(3))
    assert [path.name for path in tmp_path.iterdir()] == ["x.pt"]


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(CheckpointError, match=r"x\.pt is not a checkpoint"):
        load_state(tmp_path / "x.pt")
