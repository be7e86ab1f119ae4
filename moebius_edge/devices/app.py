"""Define the example app of a package on a device: its name, and what it says while it measures.

The app logs one line for each thing that it does, under the tag `moebius-profile`; the last one is `done` or
`failed: SENTENCE`.
"""

import time
from dataclasses import dataclass

from moebius_edge.common.errors import InvalidInput, RuntimeUnavailable
from moebius_edge.common.explain import printable
from moebius_edge.common.progress import Stage

APP = "io.moebius.edge.example"
TAG = "moebius-profile"
RESULT = "profile.json"
MAX_NUMBERS = 30_000  # in a result: at 30 bytes each, Swift's longest, they fit into report.MAX_BYTES
_FAILED = "failed:"


@dataclass(frozen=True)
class Wish:
    """What the app is to measure. Raises InvalidInput when a number is out of range."""

    runs: int = 10  # timed runs of each graph
    edits: int = 20  # whole edits, one after the other
    steps: int = 20  # of an edit
    minutes: float = 60.0  # in which it must be done

    def __post_init__(self) -> None:
        if not 1 <= self.steps <= 1000:
            raise InvalidInput(f"steps is {self.steps}; a device takes 1 to 1000")
        numbers = 3 * self.runs + self.edits * (self.steps + 5)  # with the temperature after each edit
        if numbers > MAX_NUMBERS:
            raise InvalidInput(
                f"{self.runs} runs and {self.edits} edits of {self.steps} steps give {numbers:,} numbers; "
                f"a device may write {MAX_NUMBERS:,}: measure less at a time"
            )
        if not 0 < self.minutes <= 1440:
            raise InvalidInput(f"--timeout is {self.minutes:g} minutes; expected more than 0, at most 1440")


class Watch:
    """The lines that the app logs, followed until it is done or its time is up."""

    def __init__(self, wish: Wish, say: Stage) -> None:
        self.say, self.minutes = say, wish.minutes
        self.deadline = time.monotonic() + 60 * wish.minutes

    def done(self, line: str) -> bool:
        """Return whether this line is the last one.

        Raises RuntimeUnavailable for a line that begins with `failed:`, with its sentence.
        """
        line = printable(line.strip())
        if line.startswith(_FAILED):
            raise RuntimeUnavailable(f"the app could not measure: {line.removeprefix(_FAILED).strip()[:300]}")
        if line and line != "done" and not line.startswith("-----"):  # logcat's own headings
            self.say(f"measuring {line[:60]}", 2, 3)
        return line == "done"

    def check_time(self) -> None:
        """Raise RuntimeUnavailable when the app takes too long."""
        if time.monotonic() > self.deadline:
            raise RuntimeUnavailable(
                f"the app was not done after {self.minutes:g} minutes and was stopped; give it more with "
                "--timeout, or less to do with --edits, --steps and --runs"
            )
