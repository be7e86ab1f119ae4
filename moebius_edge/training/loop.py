"""What a training run is besides its model: how far it has come, when it saves, how it goes on later."""

import math
import os
import statistics
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from moebius_edge.errors import CheckpointError


@dataclass(frozen=True)
class Budget:
    """How long a run lasts: a number of steps if given, else minutes of running."""

    minutes: float = 30.0  # time spent in steps; time stopped (SIGSTOP, a sleeping laptop) is not counted
    steps: int | None = None  # fixed number of steps instead: the same schedule on every machine
    save_minutes: float = 3.0  # between two checkpoints with sample sheet


class Clock:
    """Progress of a run in [0, 1], from steps or from time without the pauses."""

    PAUSE = 8.0  # a step longer than this many median steps was a pause and counts as a median step

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.steps = 0
        self.seconds = 0.0
        self._recent: deque[float] = deque(maxlen=31)
        self._last = time.monotonic()

    def tick(self) -> None:
        """Counts one step that ends now."""
        now = time.monotonic()
        self.steps += 1
        taken, self._last = now - self._last, now
        if len(self._recent) >= 8:
            median = statistics.median(self._recent)
            taken = taken if taken <= self.PAUSE * median else median
        self._recent.append(taken)
        self.seconds += taken

    def skip(self) -> None:
        """Leaves the time since the last step out of the budget."""
        self._last = time.monotonic()

    @property
    def progress(self) -> float:
        if self.budget.steps is not None:
            return min(self.steps / max(self.budget.steps, 1), 1.0)
        return min(self.seconds / (60 * self.budget.minutes), 1.0)

    @property
    def done(self) -> bool:
        return self.progress >= 1.0


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Writes a checkpoint whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)


def load_state(path: Path) -> dict[str, Any]:
    """Reads a checkpoint of `save_state` (tensors and plain values only). Raises `CheckpointError`."""
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged file
        raise CheckpointError(
            f"{path} is not a checkpoint of this program: {error}. Delete it to start again."
        ) from error
    return state


def require_same(found: dict[str, Any], wanted: dict[str, Any], folder: Path) -> None:
    """Raises `CheckpointError` if a run's checkpoint is of another architecture."""
    if different := [name for name in wanted if found.get(name) != wanted[name]]:
        name = different[0]
        raise CheckpointError(
            f"the run in {folder} has {name} {found.get(name)}, this command {wanted[name]}: "
            "repeat its options or use another --run"
        )


def generator_state(rng: np.random.Generator) -> dict[str, Any]:
    """A PCG64 generator's state as plain integers in strings (they exceed 64 bits)."""
    state: dict[str, Any] = dict(rng.bit_generator.state)
    inner = {key: str(value) for key, value in state["state"].items()}
    return {"state": inner, "has_uint32": int(state["has_uint32"]), "uinteger": int(state["uinteger"])}


def restore_generator(rng: np.random.Generator, state: dict[str, Any]) -> None:
    inner = {key: int(value) for key, value in state["state"].items()}
    rng.bit_generator.state = {"bit_generator": "PCG64", **state, "state": inner}


def train(
    clock: Clock, step: Callable[[], float], save: Callable[[], None], losses: list[float] | None = None
) -> None:
    """Calls `step` (returns its loss) until the budget is spent, `save` now and then and at the end.

    `losses` receives every step's. Ctrl-C saves and stops: the same command goes on from there.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[note]}"))
    smooth, saved, logged = float("nan"), clock.seconds, 0
    clock.skip()
    with Progress(*columns, TimeElapsedColumn(), disable=not os.isatty(1)) as bar:
        task = bar.add_task("training", total=1.0, note="")
        try:
            while not clock.done:
                loss = step()
                clock.tick()
                if losses is not None:
                    losses.append(loss)
                smooth = loss if math.isnan(smooth) else 0.98 * smooth + 0.02 * loss
                note = f"step {clock.steps}  loss {smooth:.4f}"
                bar.update(task, completed=clock.progress, note=note)
                if not os.isatty(1) and clock.steps >= logged + 50:
                    logged = clock.steps
                    print(f"{clock.progress:6.1%}  {clock.seconds:6.0f} s  {note}", flush=True)
                if clock.seconds - saved > 60 * clock.budget.save_minutes:
                    saved = clock.seconds
                    save()
                    clock.skip()
        except KeyboardInterrupt:
            bar.console.print("stopped; the same command goes on from here")
    save()
