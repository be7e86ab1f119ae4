"""Small files: written whole or not at all, and read only when they are plain files."""

import errno
import hashlib
import os
import secrets
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from moebius_edge.common.locks import lock, release, remove_abandoned_file

# Of temporary files. A bundle does not count names that begin with "._": see `moebius_edge.bundle.folder`.
PREFIX, SUFFIX = "._moebius-edge-", ".tmp"


def plain_size(path: Path) -> int:
    """Return the size of a plain file in bytes.

    Raises OSError for anything else: opening a pipe would wait for ever.
    """
    info = path.stat()
    if not stat.S_ISREG(info.st_mode):
        raise OSError(errno.EINVAL, "it is not a plain file", str(path))
    return info.st_size


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as 64 lower-case hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomically(path: Path, data: bytes, beside: Path | None = None) -> None:
    """Write a file so that `path` has either its old contents or all of the new ones.

    They are first written to a hidden file in the folder of `beside` (None: of `path`), on the same disk.
    What killed processes have left there is removed first. A file that exists keeps its mode; a new one's
    follows the umask. Raises OSError that names `path`.
    """
    folder = (beside or path).parent
    with _naming(path):
        for left in folder.glob(f"{PREFIX}????????{SUFFIX}"):
            remove_abandoned_file(left)
        mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else None
        # Nobody else may read what is in it before it has its mode.
        with _temporary(folder, 0o666 if mode is None else 0o600) as temporary:
            temporary.write_bytes(data)
            if mode is not None:
                temporary.chmod(mode)
            temporary.replace(path)


def check_writable(path: Path) -> None:
    """Raise OSError that names `path` when `write_atomically` could not write it; leave nothing behind."""
    with _naming(path):
        if path.exists() and not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        with _temporary(path.parent, 0o600):
            pass


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        error.filename, error.filename2 = str(path), None  # the temporary name would mean nothing to anybody
        raise


@contextmanager
def _temporary(folder: Path, mode: int) -> Iterator[Path]:
    """Yield the path of a new file, locked while the block runs; afterwards it is removed if still there.

    `mode`: less what the umask takes.
    """
    while True:
        path = folder / f"{PREFIX}{secrets.token_hex(4)}{SUFFIX}"
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))
        held = _lock_new(path)
        if held is not None or sys.platform == "win32":
            break
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)
        release(held)


def _lock_new(path: Path) -> int | None:
    """Lock a file that was just made; None when another process took it for an abandoned one before that."""
    with suppress(FileNotFoundError):
        held = lock(path)
        if path.exists():
            return held
        release(held)
    return None
