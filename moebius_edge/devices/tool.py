"""Run a command-line tool of a platform's vendor as a program: lists of arguments, never a shell."""

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import IO

from moebius_edge.common.errors import RuntimeUnavailable

PATIENCE = 60.0  # seconds that a short command may take
ENDING_SECONDS = 5.0  # that a program may take to end once it is told to
MAX_OUTPUT = 16 << 20  # bytes that a short command may write
MAX_LINE = 4096  # bytes of a line that is followed; longer ones come in pieces


@dataclass(frozen=True)
class Answer:
    """What a command left: exit code, output and errors."""

    code: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        """Standard output as text, with Unix line ends."""
        return self.out.decode(errors="replace").replace("\r\n", "\n")

    @property
    def complaint(self) -> str:
        """The last line that names an error, else the last line, else the exit code."""
        lines = [line.strip() for line in f"{self.text}\n{self.err}".splitlines() if line.strip()]
        named = [line for line in lines if "error" in line.lower()]
        return [f"exit code {self.code}", *lines[-1:], *named[-1:]][-1][:300]


class Tool:
    """A program with the arguments that every call begins with."""

    def __init__(self, *command: str) -> None:
        self.command = command

    def run(self, *arguments: str, patience: float = PATIENCE) -> Answer:
        """Run the program to its end.

        `patience`: seconds. Raises RuntimeUnavailable when it cannot be started, takes too long, or writes
        more than `MAX_OUTPUT` bytes.
        """
        try:
            process = subprocess.Popen(
                [*self.command, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        except OSError as error:
            raise RuntimeUnavailable(f"cannot run {self.command[0]}: {error.strerror or error}") from None
        out, err = (_Output(process, pipe) for pipe in (process.stdout, process.stderr))
        end = time.monotonic() + patience
        try:
            process.wait(patience)
            for output in (out, err):
                output.join(max(0.0, end - time.monotonic()))
            late = out.is_alive() or err.is_alive()  # what it has started writes on
        except subprocess.TimeoutExpired:
            late = True
        finally:
            process.kill()
            process.wait()
        if out.flooded or err.flooded:
            raise RuntimeUnavailable(
                f"`{self._called(arguments)}` wrote more than {MAX_OUTPUT:,} bytes; look whether "
                f"{self.command[0]} is the program that it should be"
            )
        if late:
            raise RuntimeUnavailable(
                f"`{self._called(arguments)}` gave no answer within {patience:g} seconds; look at the "
                "device's screen and its cable, then try again"
            )
        return Answer(process.returncode, out.data, err.data.decode(errors="replace"))

    def checked(self, *arguments: str, patience: float = PATIENCE) -> Answer:
        """Run the program; raise RuntimeUnavailable with its own words when it fails."""
        answer = self.run(*arguments, patience=patience)
        if answer.code:
            raise RuntimeUnavailable(f"`{self._called(arguments)}` failed: {answer.complaint}")
        return answer

    def follow(self, *arguments: str) -> "Following":
        """Start the program and read its lines while it runs; use it in a `with` block."""
        return Following([*self.command, *arguments])

    def _called(self, arguments: Sequence[str]) -> str:
        words = " ".join((self.command[0].rpartition("/")[2], *self.command[1:], *arguments))
        return words if len(words) <= 120 else f"{words[:117]}..."


class _Output(threading.Thread):
    """A thread that takes what a program writes, and ends one that writes too much."""

    def __init__(self, process: subprocess.Popen[bytes], pipe: IO[bytes] | None) -> None:
        super().__init__(daemon=True)
        self._process, self._pipe = process, pipe
        self.data = b""
        self.start()

    @property
    def flooded(self) -> bool:
        """Whether the output was more than `MAX_OUTPUT`."""
        return len(self.data) > MAX_OUTPUT

    def run(self) -> None:
        """Read to the end, or as far as is allowed."""
        if self._pipe is None:
            return
        with self._pipe:
            self.data = self._pipe.read(MAX_OUTPUT + 1)
        if self.flooded:
            self._process.kill()


class Following:
    """A running program and its lines; leaving the `with` block ends the program."""

    def __init__(self, command: Sequence[str]) -> None:
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise RuntimeUnavailable(f"cannot run {command[0]}: {error.strerror or error}") from None
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self.ended = False  # whether its last line has been taken

    def line(self, seconds: float) -> str | None:
        """Return the next line; None when there is none within `seconds` or no more (`ended`)."""
        if self.ended:
            return None
        try:
            found = self._lines.get(timeout=seconds)
        except queue.Empty:
            return None
        self.ended = found is None
        return found

    def _read(self) -> None:
        if self._process.stdout is not None:
            while line := self._process.stdout.readline(MAX_LINE):
                self._lines.put(line.decode(errors="replace").rstrip())
        self._lines.put(None)

    def __enter__(self) -> "Following":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(kill=False)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=ENDING_SECONDS)
        self._thread.join(timeout=1)
        if self._process.returncode is None or self._thread.is_alive():
            self._end(kill=True)
            self._process.wait()
            self._thread.join(timeout=5)
        if self._process.stdout is not None and not self._thread.is_alive():
            self._process.stdout.close()  # would wait for the thread while that still reads

    def _end(self, *, kill: bool) -> None:
        """End the program and, except on Windows, what it has started.

        adb may be a script around another program.
        """
        if sys.platform == "win32":
            self._process.kill() if kill else self._process.terminate()
            return
        with suppress(ProcessLookupError, PermissionError):  # nothing is left of it
            os.killpg(self._process.pid, signal.SIGKILL if kill else signal.SIGTERM)
