"""Keep histograms of activations, and read ranges off them with one of four observers.

A range is what 256 levels are spread over: a wide one rounds coarsely, a narrow one clips. `minmax` clips
nothing; `percentile` leaves a fixed share out; `mse` takes the least squared error; `entropy` the least
Kullback-Leibler divergence (Migacz, GTC 2017).
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Range = tuple[float, float]  # smallest and largest value that is represented
Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

BINS = 2048  # over [-limit, limit]
LEVELS = 256  # of an 8-bit tensor
PERCENTILE = 99.99  # per cent of the values that `percentile` keeps
SHRINK = np.linspace(0.3, 1.0, 36)  # what `mse` and `entropy` try, as parts of the whole range


@dataclass
class Histogram:
    """Counts of values in equal bins over [-limit, limit]; the limit doubles when a value is beyond it."""

    limit: float = 0.0
    low: float = np.inf
    high: float = -np.inf
    counts: Counts = field(default_factory=lambda: np.zeros(BINS, np.int64))

    def add(self, values: NDArray[np.float32]) -> None:
        """Count finite values of any shape."""
        self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))
        largest = max(-self.low, self.high, 1e-30)
        if self.limit == 0.0:
            self.limit = largest
        while self.limit < largest:
            self._widen()
        places = ((values.ravel() + np.float32(self.limit)) * np.float32(BINS / 2 / self.limit)).astype(
            np.int32
        )
        self.counts += np.bincount(np.clip(places, 0, BINS - 1), minlength=BINS)

    def _widen(self) -> None:
        pairs = self.counts.reshape(BINS // 2, 2).sum(1)
        self.counts = np.zeros(BINS, np.int64)
        self.counts[BINS // 4 : BINS // 4 * 3] = pairs
        self.limit *= 2

    @property
    def centres(self) -> Floats:
        """The middle of each bin, [BINS]."""
        return np.linspace(-1, 1, BINS, endpoint=False) * self.limit + self.limit / BINS

    @property
    def ends(self) -> Range:
        """The smallest and the largest value, widened to hold 0, which is always represented."""
        return min(self.low, 0.0), max(self.high, 0.0)


def minmax(histogram: Histogram) -> Range:
    """Return the range of everything that was seen."""
    return histogram.ends


def percentile(histogram: Histogram) -> Range:
    """Return the range that is left when (100 - PERCENTILE) / 2 per cent are cut off at each end."""
    low, high = histogram.ends
    share = np.cumsum(histogram.counts) / histogram.counts.sum()
    cut = (100 - PERCENTILE) / 200
    centres = histogram.centres
    return (
        max(low, min(float(centres[np.searchsorted(share, cut)]), 0.0)),
        min(high, max(float(centres[np.searchsorted(share, 1 - cut)]), 0.0)),
    )


def mse(histogram: Histogram) -> Range:
    """Return the range of the least squared error; the two ends are searched in turns."""
    low, high = histogram.ends
    best = low, high
    for _ in range(2):
        best = min(((low * part, best[1]) for part in SHRINK), key=lambda r: squared_error(histogram, r))
        best = min(((best[0], high * part) for part in SHRINK), key=lambda r: squared_error(histogram, r))
    return best


def squared_error(histogram: Histogram, ends: Range) -> float:
    """Return the mean squared error of rounding to the levels between `ends` and clipping to them."""
    step = max(ends[1] - ends[0], 1e-30) / (LEVELS - 1)
    centres = histogram.centres
    beyond = np.maximum(ends[0] - centres, 0) + np.maximum(centres - ends[1], 0)
    # Inside a bin wider than a step, and inside a step, the error is that of a uniform distribution.
    each = np.where(beyond > 0, (beyond + step / 2) ** 2, step * step / 12)
    return float((histogram.counts * each).sum() / histogram.counts.sum())


def entropy(histogram: Histogram) -> Range:
    """Return the range whose quantized distribution diverges least from what was seen."""
    low, high = histogram.ends
    if low == high:  # nothing but zeros
        return low, high
    return min(((low * part, high * part) for part in SHRINK), key=lambda r: divergence(histogram, r))


def divergence(histogram: Histogram, ends: Range) -> float:
    """Return the Kullback-Leibler divergence of the distribution from its copy quantized between `ends`.

    Values beyond the ends count at them. The share of a level is spread over those of its bins that hold
    values. The result is inf for a range narrower than a bin.
    """
    step = max(ends[1] - ends[0], 1e-30) / (LEVELS - 1)
    level = np.clip(np.rint((histogram.centres - ends[0]) / step), 0, LEVELS - 1).astype(np.int64)
    inside = (histogram.centres >= ends[0]) & (histogram.centres <= ends[1])
    counts = np.where(inside, histogram.counts, 0).astype(np.float64)
    seen = counts.copy()
    places = np.flatnonzero(inside)
    if not places.size:  # narrower than a bin
        return np.inf
    first, last = places[[0, -1]]
    seen[first] += histogram.counts[:first].sum()
    seen[last] += histogram.counts[last + 1 :].sum()
    filled = (counts > 0).astype(np.float64)
    share = np.bincount(level, counts, LEVELS) / np.maximum(np.bincount(level, filled, LEVELS), 1)
    copy = share[level] * filled
    p, q = seen / seen.sum(), np.maximum(copy / max(copy.sum(), 1), 1e-12)
    used = p > 0
    return float((p[used] * np.log(p[used] / q[used])).sum())


OBSERVERS: dict[str, Callable[[Histogram], Range]] = {
    "minmax": minmax,
    "percentile": percentile,
    "entropy": entropy,
    "mse": mse,
}
# What help says of each.
ABOUT = {
    "minmax": "all of it",
    "percentile": "all but rare values",
    "entropy": "least information lost",
    "mse": "least squared error",
}
