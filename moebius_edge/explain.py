"""Errors as sentences and exit codes: where every command and every script of the project ends."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from moebius_edge.errors import MoebiusError

MISUSED, INTERRUPTED, TERMINATED = 2, 130, 143  # exit codes; 128 + SIGINT and SIGTERM, as shells have it

# What may be missing, and the extra that brings it.
EXTRAS = {
    "torch": "export",
    "diffusers": "export",
    "huggingface_hub": "export",
    "onnx": "export",
    "onnxscript": "export",
    "onnxsim": "export",
    "matplotlib": "plot",
    "coremltools": "coreml",
}


class Stopped(KeyboardInterrupt):
    """SIGTERM."""


@contextmanager
def explained() -> Iterator[None]:
    """What is the user's or the machine's fault becomes one sentence and SystemExit with its code.

    SIGTERM, with which services and containers stop a program, ends like Ctrl-C: what was begun is removed as
    soon as native code returns; what a SIGKILL leaves is removed by the next export.
    """
    with _sigterm_raises():
        try:
            yield
        except (KeyboardInterrupt, Exception) as error:
            code = explain(error)
            if code is None:
                raise
            raise SystemExit(code) from None


@contextmanager
def _sigterm_raises() -> Iterator[None]:
    """Where nobody has decided otherwise. Windows ends a process without asking it."""
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _stop(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not end the cleaning up
    raise Stopped


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
        extra = EXTRAS.get((error.name or "").partition(".")[0])
        install = f'pip install "moebius-edge[{extra}]"'
        return f"this needs {error.name}, which is not installed; {install}" if extra else None
    return None
