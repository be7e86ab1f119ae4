"""Silence libraries that log more than their users want to read."""

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr


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
