"""Kill writers at every point, or at random ones, and look at what is left.

Processes are forked, so that nothing is imported anew; a forked one never returns.
"""

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from moebius_edge.bundle.folder import Bundle
from moebius_edge.common.errors import MoebiusError
from moebius_edge.common.files import write_atomically
from tests.conftest import tiny_manifest, write_tiny_bundle

Action = Callable[[], object]
PHOTO, OLD, NEW = "photo.jpg", b"old" * 1000, b"new" * 200_000


def kill_at(point: int, action: Action) -> bool:
    """Run `action` in a process that dies before its `point`-th look at the file system; whether it died."""
    child = os.fork()
    if child == 0:
        seen = 0

        def watch(event: str, _: object) -> None:
            nonlocal seen
            if event == "open" or event.startswith(("os.", "shutil.", "fcntl.")):
                seen += 1
                if seen == point:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(watch)
        _run(action)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def kill_after(seconds: float, action: Action) -> bool:
    """Run `action` in a process that is killed after some time; whether it was still running."""
    child = os.fork()
    if child == 0:
        _run(action)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def _run(action: Action) -> None:
    try:
        action()
    finally:
        os._exit(0)


def replace_bundle(folder: Path) -> None:
    """Write a bundle, over the one that may be there."""
    write_tiny_bundle(folder / "b.moebius", tiny_manifest(), overwrite=True)


def give_up(folder: Path) -> None:
    """Begin to write a bundle and fail, after what was left behind has been dealt with."""
    with suppress(MoebiusError):
        write_tiny_bundle(folder / "b.moebius", tiny_manifest(), overwrite=False)


def write_photo(folder: Path) -> None:
    """Write a result of `inpaint`, over the one that may be there."""
    write_atomically(folder / PHOTO, NEW)


def bundle_is_whole_or_absent(folder: Path) -> None:
    """Fail for half a bundle, under its name or after another run has put it back."""
    path = folder / "b.moebius"
    if path.exists():
        Bundle.open(path)
        path.rename(folder / "moved.moebius")  # by a user; nothing but a whole one may come in its place
    give_up(folder)
    Bundle.open(path)


def photo_is_whole_or_absent(folder: Path) -> None:
    """Fail for half a photo."""
    path = folder / PHOTO
    assert not path.exists() or path.read_bytes() in (OLD, NEW)


WRITERS: dict[str, tuple[Callable[[Path], None], Callable[[Path], None]]] = {
    "replace a bundle": (replace_bundle, bundle_is_whole_or_absent),
    "write a photo": (write_photo, photo_is_whole_or_absent),
}


def check_one(folder: Path, writer: str, kill: Callable[[Action], bool]) -> bool:
    """Kill a writer in a new folder and check what is left, now and after the next run; whether it died."""
    write, check = WRITERS[writer]
    folder.mkdir()
    write_tiny_bundle(folder / "b.moebius", tiny_manifest())
    (folder / PHOTO).write_bytes(OLD)
    died = kill(lambda: write(folder))
    check(folder)
    write(folder)
    left = {path.name for path in folder.iterdir()} - {"b.moebius", "moved.moebius", PHOTO}
    assert not left, f"left behind: {sorted(left)}"
    return died


def every_point(folder: Path, writer: str, step: int = 1) -> int:
    """Kill a writer at each of its points, or each `step`-th; return how many there were."""
    point = 1
    while check_one(folder / str(point), writer, partial(kill_at, point)):
        point += step
    return point


def at_random(folder: Path, writer: str, rng: random.Random) -> int:
    """Kill a writer at a random time; return how many attempts it took to be early enough."""
    folder.mkdir()
    begin = time.perf_counter()
    check_one(folder / "whole", writer, partial(kill_at, 0))
    span, attempt = time.perf_counter() - begin, 1
    while not check_one(folder / str(attempt), writer, partial(kill_after, rng.uniform(0, span))):
        span, attempt = span * 0.8, attempt + 1
    return attempt
