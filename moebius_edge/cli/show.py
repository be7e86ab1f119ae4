"""Show things on the command line: where text goes, JSON, and numbers for people."""

import contextlib
import io
import json
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moebius_edge.common import units
from moebius_edge.common.explain import printable

if TYPE_CHECKING:
    from rich.console import Console

NAME = "moebius-edge"
WIDE = 200  # columns of output that is no terminal
size = units.size
FAILED = 1  # exit code of a check; those of errors are in moebius_edge/common/explain.py


def tolerate_any_name() -> None:
    """Let standard output escape what its encoding lacks, as standard error does."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


def called() -> str:
    """Return the command as it can be typed again.

    It is a path where the name alone finds none or another one.
    """
    script = Path(sys.argv[0])
    if script.name == "__main__.py":
        return "python -m moebius_edge"
    found = shutil.which(NAME)
    same = found is not None and script.exists() and script.samefile(found)
    return NAME if same or script.stem != NAME or not script.exists() else shlex.quote(sys.argv[0])


def suggest(*words: object) -> None:
    """Print what to type next, after this command."""
    out().print(f"next: {called()} {shlex.join(map(str, words))}", markup=False)


def note(sentence: str) -> None:
    """Say on standard error what a user should know of work that goes on."""
    if sys.stderr is not None:
        print(f"note: {printable(sentence)}", file=sys.stderr)


def out() -> "Console":
    """Return the console of standard output, for results."""
    from rich.console import Console  # noqa: PLC0415

    # Piped into a file or a program, tables are not cut to the 80 columns that are assumed there.
    return Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else WIDE)


@contextlib.contextmanager
def only_json(wanted: bool) -> Iterator[None]:
    """Keep everything else from standard output, a library's messages too, while the block runs."""
    if not wanted:
        yield
        return
    with contextlib.redirect_stdout(sys.stderr):
        yield


def print_json(value: dict[str, Any]) -> None:
    """Print one JSON object on standard output; never NaN or Infinity, which are not JSON."""
    print(json.dumps(value, indent=2, allow_nan=False))


def decibels(value: float | None) -> str:
    """Format dB for people; 200 stands for identical."""
    if value is None:
        return "-"
    return "identical" if value >= 200 else f"{value:.1f} dB"
