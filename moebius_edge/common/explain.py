"""Errors as sentences and exit codes: where every command and every script of the project ends."""

import _thread
import math
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from moebius_edge.common.errors import MoebiusError

CLEANING_UP = 30.0  # seconds in which another SIGTERM is one too many
SOON = 0.05  # seconds until a signal comes again that could not be raised

_NAME = re.compile(r"[A-Za-z0-9._-]+")  # of a package, at the start of a requirement
_EXTRA = re.compile(r"extra == ['\"]([\w-]+)")

MISUSED, INTERRUPTED, TERMINATED = 2, 130, 143  # exit codes; 128 + SIGINT and SIGTERM, as shells have it

PACKAGE = "moebius-edge"


def install(extra: str = "", package: str = PACKAGE) -> str:
    """Say what to type for an extra of a package; this project is installed from its clone."""
    wanted = f"[{extra}]" if extra else ""
    if package != PACKAGE:
        return f'pip install "{package}{wanted}"'
    return f'in a clone of moebius-edge: pip install -e ".{wanted}"'


def extra_of(module: str) -> str | None:
    """Find the extra that brings a module: the first one in pyproject.toml that names its package.

    None for a module that no extra names, or where the project is not installed.
    """
    from importlib import metadata  # noqa: PLC0415 (when something is missing, and never before)

    try:
        required = metadata.requires(PACKAGE) or []
    except metadata.PackageNotFoundError:
        return None
    for line in required:
        name, extra = _NAME.match(line), _EXTRA.search(line)
        if name and extra and name[0] != PACKAGE and name[0].replace("-", "_").lower() == module.lower():
            return extra[1]
    return None


class Stopped(KeyboardInterrupt):
    """SIGTERM."""


@contextmanager
def explained() -> Iterator[None]:
    """What is the user's or the machine's fault becomes one sentence and SystemExit with its code.

    SIGTERM, with which services and containers stop a program, ends like Ctrl-C: what was begun is removed as
    soon as native code returns; what a SIGKILL leaves is removed by the next export.
    """
    with _stopped_by_signals():
        try:
            yield
        except (KeyboardInterrupt, Exception) as error:
            code = explain(error)
            if code is None:
                raise
            raise SystemExit(code) from None


class _Signals:
    """What SIGTERM does, and what becomes of a stop that Python cannot raise: in destructors, callbacks."""

    def __init__(self) -> None:
        self.stopped = -math.inf  # when

    def stop(self, *_: object) -> None:
        """Raise Stopped; a second SIGTERM must not end the cleaning up."""
        now = time.monotonic()
        if now - self.stopped < CLEANING_UP:
            return
        self.stopped = now
        raise Stopped

    def unraisable(self, unraisable: "sys.UnraisableHookArgs") -> None:
        """Python prints and forgets what is raised there: let the same signal come again, outside of it."""
        if not issubclass(unraisable.exc_type, KeyboardInterrupt):
            sys.__unraisablehook__(unraisable)
            return
        again = signal.SIGTERM if issubclass(unraisable.exc_type, Stopped) else signal.SIGINT
        self.stopped = -math.inf
        timer = threading.Timer(SOON, _thread.interrupt_main, (again,))
        timer.daemon = True
        timer.start()


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Where nobody has decided otherwise. Windows ends a process without asking it."""
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signals, before = _Signals(), sys.unraisablehook
    signal.signal(signal.SIGTERM, signals.stop)
    sys.unraisablehook = signals.unraisable
    try:
        yield
    finally:
        sys.unraisablehook = before
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def explain(error: BaseException) -> int | None:
    """Say on standard error what went wrong and return the exit code; None for an error in this program."""
    if isinstance(error, BrokenPipeError):  # the reader of our output went away, like `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    if isinstance(error, KeyboardInterrupt):
        _say("stopped; nothing was left half-written")
        return TERMINATED if isinstance(error, Stopped) else INTERRUPTED
    sentence = _sentence(error)
    if sentence is None:
        return None
    _say(f"error: {printable(sentence)}")
    return MISUSED


def _say(line: str) -> None:
    if sys.stderr is not None:  # closed: print would take standard output instead
        print(line, file=sys.stderr)


def printable(text: str) -> str:
    """One line without control characters: what a file or a library says must not reach the terminal raw."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _sentence(error: BaseException) -> str | None:
    if isinstance(error, MoebiusError):
        return str(error)
    if isinstance(error, MemoryError):
        return "not enough memory; close other programs, or use a smaller model"
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror or error)
    if isinstance(error, ModuleNotFoundError):
        extra = extra_of((error.name or "").partition(".")[0])
        return f"this needs {error.name}, which is not installed; {install(extra)}" if extra else None
    return None
