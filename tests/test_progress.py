"""Progress: a bar in a terminal, lines in a log."""

import time

import pytest

from moebius_edge import progress as module
from moebius_edge.progress import counted, progress, stages


def test_names_are_not_read_as_markup(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # as in a terminal
    with stages("x[/red] -> y[/red].moebius") as say:
        say("loading", 0, 1)
    assert "x[/red] -> y[/red].moebius: loading (1 of 1)" in capsys.readouterr().err


def test_long_work_leaves_lines_in_a_log_and_short_work_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    with stages("short") as say:
        say("working", 0, 2)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(module, "LOG_SECONDS", 0.001)
    seen = ""
    with stages("long") as say:
        say("working", 0, 2)
        while "working" not in seen:
            seen += capsys.readouterr().err
            time.sleep(0.001)
    assert " s  long: working (1 of 2)\n" in seen
    seen = ""
    with progress("bar") as tick:
        tick(3, 7)
        while "bar" not in seen:
            seen += capsys.readouterr().err
            time.sleep(0.001)
    assert " s  bar: 3 of 7\n" in seen


def test_counted_gives_every_item() -> None:
    assert list(counted("abc", "letters")) == ["a", "b", "c"]
