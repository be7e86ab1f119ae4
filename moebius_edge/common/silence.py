"""Silence libraries that log more than their users want to read."""

import io
import logging
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from typing import IO

MAX_CAPTURED = 1 << 20  # bytes


@contextmanager
def silenced(name: str) -> Iterator[None]:
    """Let the logger `name` ("" is the root) report nothing below an error while the block runs."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextmanager
def silenced_coremltools() -> Iterator[None]:
    """Silence coremltools while the block runs, which imports it or calls it.

    Nothing is said then of parts that only macOS has and of untested versions, and there is no bar for each
    pipeline. All that the block writes to `sys.stderr` is lost.
    """
    with silenced("coremltools"), redirect_stderr(io.StringIO()):
        yield


_STDERR = 2  # the file descriptor, to which libraries in C write
_capturing = threading.RLock()


@contextmanager
def captured_stderr() -> Iterator[Callable[[], str]]:
    """Keep what libraries in C write to standard error while the block runs.

    Yields a function that returns it so far. What other threads write in the meantime is taken, too. Where
    there is no standard error, nothing is captured.
    """
    with _capturing, tempfile.TemporaryFile() as kept:
        try:
            before = os.dup(_STDERR)
        except OSError:
            yield str
            return
        try:
            os.dup2(kept.fileno(), _STDERR)
            yield lambda: _read(kept)
        finally:
            os.dup2(before, _STDERR)
            os.close(before)


def _read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read(MAX_CAPTURED).decode(errors="replace")
