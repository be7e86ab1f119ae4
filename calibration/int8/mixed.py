"""Search for mixed precision: INT8 except in the layers that cost most, as few as the target allows.

INT8 alone is tried first. If it misses the target, some layers are kept in floats. The ledger gives their
order: first those that take away most noise per second that they cost. How many it needs is found by halving,
and each count is tried on whole edits.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np

from moebius_edge.calibration.activations.calibrate import GraphRuntime, sides
from moebius_edge.calibration.activations.data import CalibrationOptions, Edit, paint
from moebius_edge.calibration.int8.sensitivity import Entry, Ledger
from moebius_edge.checking.verify import region_db
from moebius_edge.common.errors import CalibrationError
from moebius_edge.common.progress import Stage
from moebius_edge.inpainter import Inpainter
from moebius_edge.precisions import having

TARGETS_DB = (40.0, 60.0)  # below is INT8's part; beyond it FP32 differs from itself in another order of sums
USUAL = having("calibrated")[0]  # what a lower target is reached with
WORST_DB = 4.0  # how far below the target one edit may be: the thresholds of a precision are "40 dB (36)"
CAP_DB = 64.0  # of one edit: a mean must not be lifted by an edit that happens to be identical

# Multiply-accumulates per second and core of floats and of u8 x s8 on a CPU with VNNI (docs/quantization.md),
# of dense layers and, by True, of depthwise ones, whose floats have to be transposed.
RATES = {False: (75e9, 280e9), True: (7.5e9, 20e9)}


@dataclass(frozen=True)
class Score:
    """How close edits are to FP32's, inside their holes, peak 255; one edit counts for `CAP_DB` at most."""

    mean_db: float  # of the edits that were run
    worst_db: float
    edits: int  # how many were run: all, but that one far below the target ends a trial

    def reaches(self, target_db: float) -> bool:
        """Return whether the mean reaches the target and no edit is more than `WORST_DB` below it."""
        return self.mean_db >= target_db and self.worst_db >= target_db - WORST_DB


@dataclass(frozen=True)
class Mix:
    """What the search chose: the layers in floats, and how close the edits are with them."""

    target_db: float
    score: Score  # on the edits of the calibration
    kept: tuple[str, ...]  # layers in floats
    layers: int  # of how many
    saved: float  # part of the time that INT8 saves in all layers, by RATES
    tried: tuple[tuple[int, Score], ...]  # layers kept, and what came of it


def seconds_saved(entry: Entry) -> float:
    """Estimate the seconds of a run on one core that quantizing the layer saves, from `RATES`."""
    floats, integers = RATES[entry.depthwise]
    return entry.macs * (1 / floats - 1 / integers)


def score(
    runtime: GraphRuntime, edits: Sequence[Edit], options: CalibrationOptions, target_db: float = -np.inf
) -> Score:
    """Run the edits with the graphs of `runtime` until one of them is too far below the target.

    Raises CalibrationError when there is no edit.
    """
    if not edits:
        raise CalibrationError("there is no edit to compare with FP32; expected one or more")
    resolution, latent_size = sides(runtime.models)
    inpainter = Inpainter(runtime, resolution=resolution, latent_size=latent_size, low_memory=False)
    found: list[float] = []
    for edit in edits:
        picture = paint(inpainter, edit.photo, edit.mask, edit.seed, options)
        found.append(min(region_db(picture, edit.picture, edit.mask), CAP_DB))
        if found[-1] < target_db - WORST_DB:
            break
    return Score(float(np.mean(found)), min(found), len(found))


def search(
    layers: Collection[str],
    costs: Callable[[], Ledger],
    trial: Callable[[frozenset[str]], Score],
    target_db: float,
    say: Stage,
) -> Mix:
    """Find the fewest layers in floats with which `trial` reaches the target.

    Layers are taken in the order of the noise that they take away per second that INT8 had saved. `trial`
    scores a set of layers in floats. `costs` gives the ledger, which takes minutes, so it is called only when
    INT8 alone does not reach the target. Raises CalibrationError when the target is out of `TARGETS_DB` or is
    not reached with every layer in floats, and for a ledger of other layers.
    """
    check_target(target_db)
    tried: dict[int, Score] = {}
    order: list[Entry] = []
    most = max(len(layers).bit_length(), 1) + 2  # trials, at most

    def reached(count: int) -> bool:
        say(f"mixed precision: trying {count} of {len(layers)} layers in floats", len(tried), most)
        tried[count] = trial(frozenset(entry.layer for entry in order[:count]))
        return tried[count].reaches(target_db)

    low, high = 0, len(layers)  # low does not reach the target, high does
    if reached(0):
        high = 0
    else:
        order = _by_gain(costs(), layers)
        if not reached(high):
            raise _out_of_reach(target_db, tried[high])
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    everything = sum(map(seconds_saved, order))
    return Mix(
        target_db=target_db,
        score=tried[high],
        kept=tuple(entry.layer for entry in order[:high]),
        layers=len(layers),
        saved=sum(map(seconds_saved, order[high:])) / everything if everything else 1.0,
        tried=tuple(sorted(tried.items())),
    )


def _out_of_reach(target_db: float, best: Score) -> CalibrationError:
    return CalibrationError(
        f"{target_db:g} dB are not reached even with all layers in floats: {best.mean_db:.1f} dB over "
        f"{best.edits} edits, worst {best.worst_db:.1f}; choose a lower --target-db, or --precision fp16"
    )


def _by_gain(ledger: Ledger, layers: Collection[str]) -> list[Entry]:
    """Sort the ledger's entries by their noise per second that INT8 saves, the largest first."""
    if sorted(entry.layer for entry in ledger.entries) != sorted(layers):
        raise CalibrationError(
            f"the ledger's {len(ledger.entries)} layers are not the {len(layers)} of this model; run "
            "`moebius-edge ledger` for it"
        )
    return sorted(ledger.entries, key=lambda entry: -entry.noise / max(seconds_saved(entry), 1e-12))


def check_target(target_db: float) -> None:
    """Raise CalibrationError for a target in dB outside `TARGETS_DB`, which no search can aim at."""
    low, high = TARGETS_DB
    if not low <= target_db <= high:
        raise CalibrationError(
            f"the target is {target_db:g} dB; expected {low:g} to {high:g}, or take --precision {USUAL}"
        )
