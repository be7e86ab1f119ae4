"""Progress: a bar in a terminal, lines in a log."""

import threading
import time

import pytest

from moebius_edge.common import progress as module
from moebius_edge.common.progress import counted, progress, stages

PATIENCE = 20.0  # seconds


def test_names_are_neither_markup_nor_control_characters(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # as in a terminal
    with stages("x[/red]\x1b]0;y -> y[/red].moebius") as say:
        say("loading", 0, 1)
    assert "x[/red]\\x1b]0;y -> y[/red].moebius: loading (1 of 1)" in capsys.readouterr().err


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(module, "LOG_SECONDS", 0.001)


def wait_for(line: str, capsys: pytest.CaptureFixture[str]) -> bool:
    seen, end = "", time.monotonic() + PATIENCE
    while f" s  {line}\n" not in seen and time.monotonic() < end:
        seen += capsys.readouterr().err
        time.sleep(0.001)
    return f" s  {line}\n" in seen


def test_short_work_leaves_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    with stages("short") as say:
        say("working", 0, 2)
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("log")
def test_long_work_leaves_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with stages("long\n") as say:
        assert wait_for("long\\n", capsys)  # before anything is said
        say("working", 0, 2)
        assert wait_for("long\\n: working (1 of 2)", capsys)
    with progress("bar") as tick:
        tick(3, 7)
        assert wait_for("bar: 3 of 7", capsys)


@pytest.mark.usefixtures("log")
def test_errors_pass_and_no_thread_is_left() -> None:
    before = threading.active_count()
    with pytest.raises(KeyError), progress("bar"):
        raise KeyError
    assert threading.active_count() == before


class Full:
    """A stream on a full disk."""

    def write(self, _: str) -> int:
        raise OSError(28, "No space left on device")

    def flush(self) -> None:
        pass


@pytest.mark.usefixtures("log")
@pytest.mark.parametrize("stream", [None, Full()])
def test_what_cannot_be_written_costs_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], stream: object
) -> None:
    monkeypatch.setattr("sys.stderr", stream)
    with progress("bar") as tick:
        tick(1, 2)
        time.sleep(0.02)
    assert capsys.readouterr().out == ""


def test_counted_gives_every_item() -> None:
    assert list(counted("abc", "letters")) == ["a", "b", "c"]
