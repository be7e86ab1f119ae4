"""Small files that are written whole or not at all."""

import secrets
from pathlib import Path


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that `path` has either its old contents or all of the new ones."""
    temporary = path.with_name(f".{path.name[:80]}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(data)
        temporary.replace(path)
    except OSError as error:
        error.filename = str(path)  # the temporary name would mean nothing to anybody
        raise
    finally:
        temporary.unlink(missing_ok=True)
