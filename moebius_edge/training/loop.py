"""Run a training, whatever its model: follow its progress, save checkpoints, go on from them later."""

import math
import os
import statistics
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from torch import Tensor

from moebius_edge.common.errors import CheckpointError

LEAST_MINUTES = 0.05  # of a schedule that begins when its time is nearly over


@dataclass(frozen=True)
class Budget:
    """How long a run lasts: a number of steps if given, else minutes of running."""

    minutes: float = 30.0  # time spent in steps; time stopped (SIGSTOP, a sleeping laptop) is not counted
    steps: int | None = None  # fixed number of steps instead: the same schedule on every machine
    save_minutes: float = 3.0  # between two checkpoints
    wall: bool = False  # count all time, pauses, compilation and saving too: for a machine lent for minutes


class Clock:
    """The progress of a run in [0, 1], from steps or from time without the pauses."""

    PAUSE = 8.0  # a step longer than this many median steps was a pause and counts as a median step

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.steps = 0
        self.seconds = 0.0
        self.finished = False  # an earlier call came to the end
        self._recent: deque[float] = deque(maxlen=31)
        self._last = time.monotonic()

    def tick(self) -> None:
        """Count one step that ends now."""
        now = time.monotonic()
        self.steps += 1
        taken, self._last = now - self._last, now
        if len(self._recent) >= 8 and not self.budget.wall:
            median = statistics.median(self._recent)
            taken = taken if taken <= self.PAUSE * median else median
        self._recent.append(taken)
        self.seconds += taken

    def begin(self) -> None:
        """Start the schedule; a lent machine's time runs since the clock was made."""
        now = time.monotonic()
        if self.budget.wall:
            left = self.budget.minutes - (now - self._last) / 60
            self.budget = replace(self.budget, minutes=max(left, LEAST_MINUTES))
        self._last = now

    def skip(self) -> None:
        """Leave the time since the last step out of the budget."""
        if not self.budget.wall:
            self._last = time.monotonic()

    @property
    def progress(self) -> float:
        """How much of the budget is spent, 0 to 1."""
        if self.budget.steps is not None:
            return min(self.steps / max(self.budget.steps, 1), 1.0)
        return min(self.seconds / (60 * self.budget.minutes), 1.0)

    @property
    def done(self) -> bool:
        """Whether the budget is spent, or an earlier call came to the end."""
        return self.finished or self.progress >= 1.0


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)


def load_state(path: Path) -> dict[str, Any]:
    """Read a checkpoint of `save_state` (tensors and plain values only). Raises `CheckpointError`."""
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged file
        raise CheckpointError(
            f"{path} is not a checkpoint of this program: {error}. Delete it to start again."
        ) from error
    return state


def require_same(found: dict[str, Any], wanted: dict[str, Any], folder: Path) -> None:
    """Raise `CheckpointError` if a run's checkpoint is of another architecture.

    `found`: of the checkpoint; `wanted`: of this command; `folder`: of the run, for the message.
    """
    if different := [name for name in wanted if found.get(name) != wanted[name]]:
        name = different[0]
        raise CheckpointError(
            f"the run in {folder} has {name} {found.get(name)}, this command {wanted[name]}: "
            "repeat its options or use another --run"
        )


class Report:
    """The mean loss and the speed since the last line, read from the device only when a line is due."""

    EVERY, SECONDS = 50, 15.0

    def __init__(self) -> None:
        self.total, self.count, self.examples, self.since = torch.zeros(()), 0, 0, time.monotonic()

    def add(self, loss: Tensor, examples: int) -> None:
        """Count a step of so many examples; `loss` is not read yet."""
        self.total = self.total.to(loss.device) + loss
        self.count, self.examples = self.count + 1, self.examples + examples

    def due(self) -> bool:
        """Tell whether a line is due: after `EVERY` steps, or `SECONDS` where reading the loss is free."""
        late = not self.total.is_cuda and time.monotonic() - self.since > self.SECONDS
        return self.count >= self.EVERY or late

    def line(self) -> str:
        """Return mean loss and speed as text, and begin anew.

        Raises `CheckpointError` when the loss is no longer finite.
        """
        loss = float(self.total) / max(self.count, 1)
        if not math.isfinite(loss):
            raise CheckpointError("the loss is not finite, the run diverged; start again with a lower --lr")
        speed = self.examples / max(time.monotonic() - self.since, 1e-9)
        self.total, self.count, self.examples, self.since = torch.zeros(()), 0, 0, time.monotonic()
        return f"loss {loss:.4f}  {speed:,.0f} examples/s"


def train(
    clock: Clock,
    step: Callable[[], Tensor],
    save: Callable[[bool], None],
    losses: list[float] | None = None,
    examples: Callable[[], int] = lambda: 1,
) -> None:
    """Call `step` until the budget is spent, and `save` now and then.

    `step` returns its loss; the last call of `save` has True. `losses` receives every step's; `examples`
    tells how many are in one. Ctrl-C saves and is raised on: the same command goes on from there. Raises
    `CheckpointError` for a run that diverged, before it is saved.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[note]}"))
    saved, report = clock.seconds, Report()
    clock.begin()
    with Progress(*columns, TimeElapsedColumn(), disable=not os.isatty(1)) as bar:
        task = bar.add_task("training", total=1.0, note="")
        try:
            while not clock.done:
                loss = step()
                clock.tick()
                report.add(loss, examples())
                if losses is not None:
                    losses.append(float(loss))
                saving = clock.seconds - saved > 60 * clock.budget.save_minutes
                if report.due() or saving or clock.done:
                    note = f"step {clock.steps}  {report.line()}"
                    bar.update(task, completed=clock.progress, note=note)
                    if not os.isatty(1):
                        print(f"{clock.progress:6.1%}  {clock.seconds:6.0f} s  {note}", flush=True)
                if saving and not clock.done:
                    save(False)
                    clock.skip()
                    saved = clock.seconds
        except KeyboardInterrupt:
            bar.console.print("stopped; the same command goes on from here")
            save(True)
            raise
    save(True)
