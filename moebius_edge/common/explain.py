"""Turn errors into one sentence on standard error and an exit code, for every command and every script."""

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
from moebius_edge.common.interrupts import INTERRUPTED, ended_by_two_interrupts

CLEANING_UP = 30.0  # seconds in which another SIGTERM is one too many
SOON = 0.05  # seconds until a signal comes again that could not be raised

_NAME = re.compile(r"[A-Za-z0-9._-]+")  # of a package, at the start of a requirement
_EXTRA = re.compile(r"extra == ['\"]([\w-]+)")

MISUSED, TERMINATED = 2, 143  # exit codes; 128 + SIGTERM, as shells have it

PACKAGE = "moebius-edge"


def install(extra: str = "", package: str = PACKAGE) -> str:
    """Return what to type to install one of a package's extras; "" is the package without extras.

    This project is installed from its clone.
    """
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
    """Raised by SIGTERM; a KeyboardInterrupt, so that it stops the program like Ctrl-C does."""


@contextmanager
def explained() -> Iterator[None]:
    """Turn an error of the user or the machine into one sentence and SystemExit with its exit code.

    Errors in this program are raised on as they are. SIGTERM, with which services and containers stop a
    program, ends like Ctrl-C: what was begun is removed as soon as native code returns. When it does not, a
    second Ctrl-C ends the process. What that and a SIGKILL leave behind is removed by the next run.
    """
    with _stopped_by_signals(), ended_by_two_interrupts():
        try:
            yield
        except (KeyboardInterrupt, Exception) as error:
            code = explain(error)
            if code is None:
                raise
            raise SystemExit(code) from None


class _Signals:
    """The handler of SIGTERM, and of a stop that Python cannot raise: in destructors and callbacks."""

    def __init__(self) -> None:
        self.stopped = -math.inf  # when

    def stop(self, *_: object) -> None:
        """Raise Stopped.

        Another SIGTERM within `CLEANING_UP` seconds is ignored: it must not end the cleaning up.
        """
        now = time.monotonic()
        if now - self.stopped < CLEANING_UP:
            return
        self.stopped = now
        raise Stopped

    def unraisable(self, unraisable: "sys.UnraisableHookArgs") -> None:
        """Send the same signal again when Python could not raise what it had raised.

        Python prints and forgets an exception that is raised in a destructor or a callback. `SOON` seconds
        later the program is outside of it.
        """
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
    """Let SIGTERM raise Stopped while the block runs, where nobody has decided otherwise.

    Only in the main thread. Windows ends a process without asking it.
    """
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
    """Say on standard error what went wrong and return the exit code.

    0 when the reader of our output went away, 2 for an error of the user or the machine, 130 for Ctrl-C, 143
    for SIGTERM. None for an error in this program: nothing is said then.
    """
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
    """Return the text on one line, with control characters and line breaks escaped.

    What a file or a library says must not reach the terminal raw.
    """
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
