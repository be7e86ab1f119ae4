"""Files that are written whole or not at all, beside those that killed and living processes have left."""

import errno
import os
import stat
from pathlib import Path

import pytest

from moebius_edge.common import files, staging
from moebius_edge.common.errors import BundleError, ExportError
from moebius_edge.common.files import PREFIX, SUFFIX, check_writable, write_atomically
from moebius_edge.common.locks import STALE_SECONDS, abandoned, lock, release


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_what_a_killed_writer_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    dead, living = (tmp_path / f"{PREFIX}{name}{SUFFIX}" for name in ("0badc0de", "12345678"))
    others = [
        tmp_path / name for name in (f"{PREFIX}short{SUFFIX}", "photo.tmp", f"{PREFIX}abcdefgh{SUFFIX}")
    ]
    for path in (dead, living, *others[:2]):
        path.write_bytes(b"half")
    others[2].symlink_to(others[1])
    held = lock(living)
    write_atomically(tmp_path / "result.png", b"whole")
    assert names(tmp_path) == sorted([living.name, "result.png", *(path.name for path in others)])
    release(held)
    write_atomically(tmp_path / "result.png", b"again")
    assert not living.exists() and (tmp_path / "result.png").read_bytes() == b"again"


def test_a_file_that_is_swept_before_it_is_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another run may take a file that was just made for one that nobody writes."""
    locked: list[Path] = []

    def swept_first(path: Path) -> int | None:
        locked.append(path)
        if len(locked) == 1:
            path.unlink()
        return lock(path)

    monkeypatch.setattr(files, "lock", swept_first)
    write_atomically(tmp_path / "result.png", b"whole")
    assert len(set(locked)) == 2, "what was swept is written without a lock"
    assert names(tmp_path) == ["result.png"]


def test_one_lock_has_one_holder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = lock(tmp_path)
    assert held is not None and lock(tmp_path) is None
    monkeypatch.setattr(staging, "LOCK_SECONDS", 0.05)
    with pytest.raises(ExportError, match="is locked by another export"), staging.locked(tmp_path):
        pass
    release(held)
    with staging.locked(tmp_path):
        assert lock(tmp_path) is None


def test_without_locks_age_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"half")

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    held = lock(path)
    assert held is not None and not abandoned(path, held)
    old = path.stat().st_mtime - STALE_SECONDS - 1
    os.utime(path, (old, old))
    assert abandoned(path, held)
    release(held)


@pytest.mark.parametrize("place", ["nowhere/result.png", "."])
def test_errors_name_the_output(tmp_path: Path, place: str) -> None:
    path = tmp_path / place
    with pytest.raises(OSError) as caught:
        write_atomically(path, b"whole")
    assert caught.value.filename == str(path) and "moebius-edge" not in str(caught.value)
    assert names(tmp_path) == []


def test_errors_about_a_folder_that_is_being_written_name_the_output(tmp_path: Path) -> None:
    with (
        pytest.raises(BundleError, match=r"^weights in b.moebius are wrong$"),
        staging.stage(tmp_path / "b.moebius", overwrite=False, replaceable="x") as folder,
    ):
        raise BundleError(f"weights in {folder.name} are wrong")
    with (
        pytest.raises(ExportError, match=r"cannot write .*b.moebius: No space left") as caught,
        staging.stage(tmp_path / "b.moebius", overwrite=False, replaceable="x"),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert ".tmp-" not in str(caught.value) and names(tmp_path) == []


@pytest.mark.parametrize("kept", [0o600, 0o640, 0o664, 0o444])
def test_a_file_that_exists_keeps_its_mode(kept: int, tmp_path: Path) -> None:
    output = tmp_path / "private"
    output.write_bytes(b"old")
    output.chmod(kept)
    write_atomically(output, b"new")
    assert mode(output) == kept and output.read_bytes() == b"new"


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_a_new_files_mode_follows_the_umask(umask: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        write_atomically(tmp_path / "new", b"new")
    finally:
        os.umask(before)
    assert mode(tmp_path / "new") == 0o666 & ~umask


@pytest.mark.parametrize("kept", [None, 0o600])
def test_nobody_else_can_read_it_while_it_is_written(
    kept: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "r.png"
    if kept is not None:
        output.write_bytes(b"old")
        output.chmod(kept)
    seen: list[int] = []
    real = Path.replace

    def replace(self: Path, target: Path) -> Path:
        seen.append(mode(self))
        return real(self, target)

    def write_bytes(self: Path, data: bytes) -> int:
        seen.append(mode(self))
        return write(self, data)

    write = Path.write_bytes
    monkeypatch.setattr(Path, "replace", replace)
    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    write_atomically(output, b"new")
    assert seen == [kept if kept is not None else mode(output)] * 2


def test_a_file_that_may_not_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.png").write_bytes(b"old")
    monkeypatch.setattr(os, "access", lambda path, how: False)  # root may write all
    with pytest.raises(OSError, match="Permission denied") as caught:
        check_writable(tmp_path / "x.png")
    assert caught.value.filename == str(tmp_path / "x.png")


def staged(output: Path, data: bytes) -> None:
    with staging.stage(output, overwrite=True, replaceable="x") as folder:
        (folder / "x").write_bytes(data)


def test_what_a_swap_left_is_removed_where_the_new_one_is_there(tmp_path: Path) -> None:
    staged(tmp_path / "b", b"new")
    left = tmp_path / ".b.old-01234567"
    left.mkdir()
    (left / "x").write_bytes(b"old")
    staged(tmp_path / "b", b"newer")
    assert names(tmp_path) == ["b"] and (tmp_path / "b" / "x").read_bytes() == b"newer"


def test_half_of_an_old_folder_has_no_name_that_is_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    staged(tmp_path / "b", b"old")
    with monkeypatch.context() as patch:
        patch.setattr(staging.shutil, "rmtree", lambda *_, **__: None)  # as if it was killed there
        staged(tmp_path / "b", b"new")
    assert [name[:7] for name in names(tmp_path)] == [".b.tmp-", "b"]
    staged(tmp_path / "b", b"newer")
    assert names(tmp_path) == ["b"]
