"""A stand-in for a vendor's tool."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from moebius_edge.devices import adb, ios
from tests.devices.conversations import MakeStandIn, StandIn


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeStandIn]:
    """`stand_in("adb")` puts one on the search path; at the end its conversation must be over."""
    made: list[StandIn] = []
    monkeypatch.setattr(adb, "POLL_SECONDS", 0.15)
    monkeypatch.setattr(adb, "FIRST_START_SECONDS", 0.3)
    monkeypatch.setattr(ios, "POLL_SECONDS", 20.0)

    def make(tool: str) -> StandIn:
        made.append(StandIn(tmp_path, monkeypatch, tool))
        return made[-1]

    yield make
    for each in made:
        each.check()
