"""Tell files and folders that a process is still writing from those that a killed one has left behind.

A writer holds a lock on what it writes (flock), and the system frees it when the process ends, however it
ends. Where there are no locks, on Windows and some network disks, age decides.
"""

import os
import sys
import time
from contextlib import suppress
from pathlib import Path

if sys.platform != "win32":
    import fcntl

STALE_SECONDS = 24 * 3600.0


def lock(path: Path) -> int | None:
    """Lock a file or folder; return the descriptor that holds the lock until it is closed.

    None where another descriptor holds it, and on Windows. Raises OSError when `path` cannot be opened.
    """
    if sys.platform == "win32":
        return None
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:  # a file system without locks: go on without
        pass
    return descriptor


def release(descriptor: int | None) -> None:
    """Give back what `lock` has returned."""
    if descriptor is not None:
        os.close(descriptor)


def remove_abandoned_file(path: Path) -> None:
    """Remove a temporary file if nobody writes it any more; otherwise, and when that fails, do nothing."""
    with suppress(OSError):
        if path.is_symlink() or not path.is_file():
            return
        held = lock(path)
        try:
            if abandoned(path, held):
                path.unlink()
        finally:
            release(held)


def abandoned(path: Path, held: int | None) -> bool:
    """Whether nobody writes `path` any more; `held` is what `lock` has just returned for it."""
    if held is None and sys.platform != "win32":
        return False
    return _locks(held) or time.time() - path.stat().st_mtime > STALE_SECONDS


def _locks(held: int | None) -> bool:
    """Whether a lock means something: not on Windows, and not where `lock` went on without."""
    if sys.platform == "win32" or held is None:
        return False
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
