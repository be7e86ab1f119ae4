"""Write folders that are whole or absent: built as a hidden sibling, flushed to disk, renamed into place.

The sibling `.NAME.tmp-XXXXXXXX` is locked while its owner lives. A process that is killed leaves it behind,
and the next export to the same place removes it, because its lock is free. A folder that is being replaced is
for an instant called `.NAME.old-XXXXXXXX`; if the process dies then, the next export puts it back first.
"""

import errno
import os
import secrets
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from moebius_edge.common.errors import ExportError, MoebiusError
from moebius_edge.common.locks import abandoned, lock, release

LOCK_SECONDS = 10.0


@contextmanager
def stage(output: Path, *, overwrite: bool, replaceable: str) -> Iterator[Path]:
    """Yield a new folder beside `output` that takes its place when the block ends well.

    Otherwise the folder is removed. The block must write a file `replaceable` into it. With `overwrite` an
    existing `output` is replaced if it contains the file `replaceable` or nothing at all. Raises ExportError,
    with nothing written, when that is not possible or the disk refuses.
    """
    output = Path.cwd() / output  # not resolve(): it would follow a link that is to be refused
    if output.name in ("", ".."):
        raise ExportError(f"{output} cannot be the output; name a new folder")
    refuse_occupied(output, overwrite, replaceable)
    made: list[Path] = []
    try:
        made = _make_parents(output.parent)
        with _build(output, overwrite, replaceable) as folder, _renamed(folder.name, output.name):
            yield folder
    except OSError as error:
        _remove_empty(made)
        raise ExportError(
            f"cannot write {output}: {error.strerror or error}; nothing was written. {_advice(error)}"
        ) from error
    except BaseException:
        _remove_empty(made)
        raise


@contextmanager
def _build(output: Path, overwrite: bool, replaceable: str) -> Iterator[Path]:
    with locked(output.parent):
        _sweep(output)
        refuse_occupied(output, overwrite, replaceable)
        folder = _temporary(output)
        folder.mkdir()
        held = lock(folder)
    try:
        yield folder
        if not (folder / replaceable).is_file():
            raise ExportError(f"{output} was not finished: it has no {replaceable}")
        _flush(folder)
        with locked(output.parent):
            refuse_occupied(output, overwrite, replaceable)
            _swap(folder, output)
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # after a successful swap there is nothing of that name
        release(held)


@contextmanager
def _renamed(temporary: str, name: str) -> Iterator[None]:
    """Let errors name the output: its temporary name would mean nothing to anybody."""
    try:
        yield
    except MoebiusError as error:
        error.args = tuple(str(arg).replace(temporary, name) for arg in error.args)
        raise


def refuse_occupied(output: Path, overwrite: bool, replaceable: str) -> None:
    """Raise ExportError when `output` exists and `stage` would not replace it.

    Worth asking before work that takes long.
    """
    if not os.path.lexists(output):
        return
    known = (output / replaceable).is_file()
    if not overwrite:
        way = "add --overwrite to replace it" if known else "remove it"
        raise ExportError(f"{output} already exists; choose another folder, or {way}")
    if output.is_symlink() or not output.is_dir():
        raise ExportError(f"{output} is not a folder and is not replaced; choose another name")
    if not known and any(output.iterdir()):
        raise ExportError(
            f"{output} holds something else (no {replaceable}) and is not replaced; choose another"
        )


def _swap(folder: Path, output: Path) -> None:
    """Put `folder` in the place of `output`; on failure the old one is put back."""
    old = output.with_name(f".{output.name}.old-{secrets.token_hex(4)}")
    replacing = os.path.lexists(output)
    if replacing:
        output.rename(old)
    try:
        folder.rename(output)
    except BaseException:
        if replacing:
            old.rename(output)
        raise
    _flush_folder(output.parent)
    if replacing:
        _discard(old, output)


def _discard(old: Path, output: Path) -> None:
    """Remove a folder that was replaced.

    First it gets a name by which nobody puts it back: a process that dies half-way leaves half of it.
    """
    with suppress(OSError):
        shutil.rmtree(old.rename(_temporary(output)), ignore_errors=True)


def _temporary(output: Path) -> Path:
    return output.with_name(f".{output.name}.tmp-{secrets.token_hex(4)}")


def _sweep(output: Path) -> None:
    """Put back or remove what killed exports to the same place have left."""
    for old in output.parent.glob(f".{_escaped(output.name)}.old-????????"):
        if os.path.lexists(output):
            _discard(old, output)
        else:
            old.rename(output)
    for folder in output.parent.glob(f".{_escaped(output.name)}.tmp-????????"):
        if not folder.is_symlink() and _abandoned(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _escaped(name: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)


def _abandoned(folder: Path) -> bool:
    held = lock(folder)
    try:
        return abandoned(folder, held)
    finally:
        release(held)


@contextmanager
def locked(parent: Path) -> Iterator[None]:
    """Hold the parent's lock for the instant of a sweep or a swap, so that two exports do not cross.

    Raises ExportError when another process has held it for `LOCK_SECONDS`.
    """
    deadline = time.monotonic() + LOCK_SECONDS
    while (held := lock(parent)) is None and sys.platform != "win32":
        if time.monotonic() > deadline:
            raise ExportError(f"{parent} is locked by another export; try again when it has ended")
        time.sleep(0.02)
    try:
        yield
    finally:
        release(held)


def _make_parents(parent: Path) -> list[Path]:
    """Create the missing parents and return those created, innermost first."""
    missing = [folder for folder in (parent, *parent.parents) if not os.path.lexists(folder)]
    parent.mkdir(parents=True, exist_ok=True)
    return missing


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


def _flush(folder: Path) -> None:
    """Write everything in `folder` to the disk before returning."""
    for base, _, names in os.walk(folder, topdown=False):
        for name in names:
            with (Path(base) / name).open("rb+") as file:
                os.fsync(file.fileno())
        _flush_folder(Path(base))


def _flush_folder(folder: Path) -> None:
    if sys.platform == "win32":  # cannot open a folder
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _advice(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "Free some space or choose another disk"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "Choose a folder that you may write to"
    return "Choose another folder"
