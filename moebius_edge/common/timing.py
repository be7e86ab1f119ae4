"""Time two things fairly on one machine."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

BUSY = 1.3  # 95th percentile / median; a quiet machine stays below, one that does other work does not
PAUSE_SECONDS = 0.02  # between runs: an engine's threads go on spinning for a moment and slow the next one


@dataclass(frozen=True)
class Side:
    """The times of one of the bundles that are compared."""

    p50_ms: float
    p95_ms: float
    times_ms: tuple[float, ...]  # in the order they were taken
    load_ms: float | None = None  # graphs only: first run in a fresh process, minus p50


def interleave(
    works: Sequence[Callable[[], object]], runs: int, tick: Callable[[], None], *, warm: bool = True
) -> list[list[float]]:
    """Run each of `works` `runs` times, in turns; return the milliseconds, one list for each.

    Who begins changes from round to round, and there is a pause of `PAUSE_SECONDS` before each run. `warm`: a
    first round is not counted, because it loads what is needed. `tick` is called after every run.
    """
    times: list[list[float]] = [[] for _ in works]
    for number in range(0 if warm else 1, runs + 1):
        order = range(len(works)) if number % 2 else reversed(range(len(works)))
        for index in order:
            time.sleep(PAUSE_SECONDS)
            start = time.perf_counter()
            works[index]()
            elapsed = 1000 * (time.perf_counter() - start)
            if number:
                times[index].append(elapsed)
            tick()
    return times


def median_ratio(times: Sequence[Sequence[float]]) -> float | None:
    """Return the median over the pairs of (second time / first time).

    None for one series, and where the clock saw no time pass in a first.
    """
    if len(times) < 2 or not all(times[0]):
        return None
    return float(np.median(np.divide(times[1], times[0])))


def spread(side: Side) -> float:
    """Return how far repetitions lie apart: 95th percentile / median; 1 when all are equal."""
    return side.p95_ms / side.p50_ms if side.p50_ms else 1.0


def busy_sentence(names: Sequence[str]) -> str:
    """Return what to say of timings whose `spread` is above BUSY; `names`: of graphs, or "edit"."""
    slow = ", ".join("whole edit" if name == "edit" else name for name in names)
    return (
        f"This machine was busy: the slowest runs of {slow} took more than {BUSY} times the median. Stop "
        "what else runs, or raise --runs, and measure again."
    )


def summary(times: Sequence[float], first_run_ms: float | None = None) -> Side:
    """Return the median and the 95th percentile (linear between neighbours) of times in milliseconds.

    `first_run_ms`, of a fresh process: what it took beyond the median, 0 or more, is the time of loading.
    """
    p50, p95 = (float(value) for value in np.percentile(times, [50, 95]))
    load = None if first_run_ms is None else round(max(0.0, first_run_ms - p50), 3)
    return Side(round(p50, 3), round(p95, 3), tuple(round(value, 3) for value in times), load)
