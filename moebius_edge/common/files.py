"""Small files: written whole or not at all, and read only when they are plain files."""

import errno
import hashlib
import secrets
import stat
from pathlib import Path


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


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that `path` has either its old contents or all of the new ones.

    Raises OSError that names `path`.
    """
    temporary = path.with_name(f".moebius-edge-{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(data)
        temporary.replace(path)
    except OSError as error:
        error.filename = str(path)  # the temporary name would mean nothing to anybody
        raise
    finally:
        temporary.unlink(missing_ok=True)
