"""A command-line tool of a platform's vendor, talked to as a program: lists of arguments, never a shell."""

import queue
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType

from moebius_edge.errors import RuntimeUnavailable

PATIENCE = 60.0  # seconds that a short command may take
MAX_LINE = 4096  # bytes of a line that is followed; longer ones come in pieces


@dataclass(frozen=True)
class Answer:
    """What a command left."""

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
        """Run it to its end. Raises RuntimeUnavailable when it cannot be started or takes too long."""
        try:
            done = subprocess.run(
                [*self.command, *arguments],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=patience,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise RuntimeUnavailable(
                f"`{self._called(arguments)}` gave no answer within {patience:g} seconds; look at the "
                "device's screen and its cable, then try again"
            ) from None
        except OSError as error:
            raise RuntimeUnavailable(f"cannot run {self.command[0]}: {error.strerror or error}") from None
        return Answer(done.returncode, done.stdout, done.stderr.decode(errors="replace"))

    def checked(self, *arguments: str, patience: float = PATIENCE) -> Answer:
        """`run`, and RuntimeUnavailable with the tool's own words when it fails."""
        answer = self.run(*arguments, patience=patience)
        if answer.code:
            raise RuntimeUnavailable(f"`{self._called(arguments)}` failed: {answer.complaint}")
        return answer

    def follow(self, *arguments: str) -> "Following":
        """Start it and read its lines while it runs; use it in a `with` block."""
        return Following([*self.command, *arguments])

    def _called(self, arguments: Sequence[str]) -> str:
        words = " ".join((self.command[0].rpartition("/")[2], *self.command[1:], *arguments))
        return words if len(words) <= 120 else f"{words[:117]}..."


class Following:
    """A running program and its lines. It is ended with the block."""

    def __init__(self, command: Sequence[str]) -> None:
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
        except OSError as error:
            raise RuntimeUnavailable(f"cannot run {command[0]}: {error.strerror or error}") from None
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self.ended = False  # whether its last line has been taken

    def line(self, seconds: float) -> str | None:
        """The next line, or None when there is none within `seconds` or no more (`ended`)."""
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
        self._process.terminate()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._thread.join(timeout=5)
        if self._process.stdout is not None:
            self._process.stdout.close()
