"""Histograms and the ranges read off them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moebius_edge.calibration.activations.observers import (
    BINS,
    LEVELS,
    OBSERVERS,
    Histogram,
    divergence,
    entropy,
    minmax,
    mse,
    percentile,
    squared_error,
)


def histogram_of(*parts: np.ndarray) -> Histogram:
    histogram = Histogram()
    for part in parts:
        histogram.add(part.astype(np.float32))
    return histogram


def normal(count: int = 50_000, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(count)


def test_a_histogram_widens_without_losing_values() -> None:
    histogram = histogram_of(normal(1000), 100 * normal(1000, 1), np.array([-5000.0]))
    assert histogram.counts.sum() == 2001
    assert histogram.low == -5000
    assert histogram.limit >= 5000
    mean = float((histogram.counts * histogram.centres).sum() / 2001)
    width = 2 * histogram.limit / BINS
    assert mean == pytest.approx(
        np.concatenate([normal(1000), 100 * normal(1000, 1), [-5000]]).mean(), abs=width
    )


@given(st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=60), st.floats(0.01, 100))
@settings(max_examples=60, deadline=None)
def test_every_observer_stays_inside_what_was_seen(values: list[float], scale: float) -> None:
    histogram = histogram_of(np.array(values) * scale)
    for observer in OBSERVERS.values():
        low, high = observer(histogram)
        assert histogram.ends[0] <= low <= 0 <= high <= histogram.ends[1]


def test_minmax_is_exact_and_holds_zero() -> None:
    assert minmax(histogram_of(np.array([2.0, 3.0]))) == (0.0, 3.0)
    assert minmax(histogram_of(np.array([-4.0, -3.0]))) == (-4.0, 0.0)


def test_percentile_leaves_outliers_out() -> None:
    histogram = histogram_of(normal(), np.array([1000.0]))
    low, high = percentile(histogram)
    assert high < 20
    assert low < -3


def test_mse_is_the_least_squared_error_among_its_ranges() -> None:
    values = np.concatenate([normal(), np.array([12.0, -15.0])])
    histogram = histogram_of(values)
    low, high = mse(histogram)
    assert squared_error(histogram, (low, high)) < squared_error(histogram, histogram.ends)
    # The estimate from the histogram is what rounding the values really costs.
    step = (high - low) / (LEVELS - 1)
    rounded = low + np.clip(np.rint((values - low) / step), 0, LEVELS - 1) * step
    assert squared_error(histogram, (low, high)) == pytest.approx(np.mean((values - rounded) ** 2), rel=0.05)


def test_entropy_diverges_less_than_the_whole_range() -> None:
    histogram = histogram_of(normal(), np.array([40.0, -40.0]))
    assert divergence(histogram, entropy(histogram)) < divergence(histogram, histogram.ends)
    assert entropy(histogram)[1] < 40
