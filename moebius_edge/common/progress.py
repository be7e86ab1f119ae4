"""Show progress on standard error: a bar in a terminal, a line now and then in a file or a log."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from threading import Event, Thread
from typing import TYPE_CHECKING, TypeVar

from moebius_edge.common.explain import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import ProgressColumn

LOG_SECONDS = 15.0  # between two lines where there is no terminal; shorter work leaves none

Tick = Callable[[int, int], None]  # (done, total)
Stage = Callable[[str, int, int], None]  # (what is being done, how many things are done, of how many)
Item = TypeVar("Item")
_Show = Callable[[str, int | None, int | None], None]  # (what is being done, done, total)


@contextmanager
def progress(label: str) -> Iterator[Tick]:
    """Show how far the block is; it calls what is yielded with (done, total).

    Without a terminal there is a line every `LOG_SECONDS`, so that shorter work leaves none.
    """
    from rich.progress import BarColumn, MofNCompleteColumn  # noqa: PLC0415 (rich.progress takes 50 ms)

    with _shown(label, BarColumn(), MofNCompleteColumn()) as show:
        yield lambda done, total: show(label, done, total)


def counted(items: Sequence[Item], label: str) -> Iterator[Item]:
    """Yield the items one by one, showing how many are done."""
    with progress(label) as tick:
        for done, item in enumerate(items):
            tick(done, len(items))
            yield item


@contextmanager
def stages(label: str) -> Iterator[Stage]:
    """Show the progress of work that says what it is doing.

    The block calls what is yielded with (what, done, total); otherwise like `progress`. `done` counts what is
    finished: shown is the one at work, `done` + 1.
    """
    from rich.progress import SpinnerColumn  # noqa: PLC0415

    with _shown(label, SpinnerColumn()) as show:
        yield lambda what, done, total: show(
            f"{label}: {what} ({min(done + 1, total)} of {total})", None, None
        )


@contextmanager
def _shown(label: str, *columns: "ProgressColumn") -> Iterator[_Show]:
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    if not console.is_terminal:
        with _log(console, label) as show:
            yield show
        return
    text = TextColumn("{task.description}", markup=False)  # names are no markup
    with Progress(text, *columns, TimeElapsedColumn(), console=console, transient=True) as bar:
        task = bar.add_task(label, total=None)
        yield lambda what, done, total: bar.update(
            task, description=printable(what), completed=done, total=total
        )


@contextmanager
def _log(console: "Console", label: str) -> Iterator[_Show]:
    start, over, latest = time.monotonic(), Event(), label
    # As it is now: a library may be silenced later. For a closed one rich has a file that takes all.
    stream = console.file

    def show(what: str, done: int | None, total: int | None) -> None:
        nonlocal latest
        latest = what if total is None else f"{what}: {done} of {total}"

    def beat() -> None:
        with suppress(OSError, ValueError):  # a full disk or a closed pipe must not cost the work
            while not over.wait(LOG_SECONDS):
                line = f"{time.monotonic() - start:6.0f} s  {printable(latest)}\n"
                stream.write(line)
                stream.flush()

    thread = Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield show
    finally:
        over.set()
        thread.join(timeout=1)  # it may be waiting for a reader of a full pipe
