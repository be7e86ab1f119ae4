"""coremltools without its chatter: parts that only macOS has, untested versions, a bar for each pipeline."""

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr


@contextmanager
def quiet_coremltools() -> Iterator[None]:
    """While the block runs, which imports coremltools or calls it, its log and standard error are silent."""
    logger = logging.getLogger("coremltools")
    before = logger.disabled
    logger.disabled = True
    try:
        with redirect_stderr(io.StringIO()):
            yield
    finally:
        logger.disabled = before
