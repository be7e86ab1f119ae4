"""Libraries without their chatter."""

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr


@contextmanager
def silenced(name: str) -> Iterator[None]:
    """While the block runs, the logger `name` ("" is the root) reports nothing below an error."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextmanager
def silenced_coremltools() -> Iterator[None]:
    """While the block runs, which imports coremltools or calls it: nothing of parts that only macOS has, of
    untested versions, and no bar for each pipeline."""
    with silenced("coremltools"), redirect_stderr(io.StringIO()):
        yield
