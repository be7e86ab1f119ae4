"""The harmonic correction against what is known exactly, and the solver against a direct sparse solution."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import spsolve

from moebius_edge.inpaint.harmonic import correction, extend
from moebius_edge.inpaint.imaging import Bools

Doubles = NDArray[np.float64]


def blob(height: int, width: int, seed: int) -> Bools:
    """Boxes and single pixels, some at the edges; never everything."""
    rng = np.random.default_rng(seed)
    hole = rng.random((height, width)) < 0.02
    for _ in range(3):
        top, left = int(rng.integers(height)), int(rng.integers(width))
        hole[top : top + int(rng.integers(height)) + 1, left : left + int(rng.integers(width)) + 1] = True
    hole[int(rng.integers(height)), int(rng.integers(width))] = False
    return hole


def direct(values: Doubles, hole: Bools) -> Doubles:
    """Laplace's equation in the hole of `values` [H,W] by a sparse direct solver; no flow over the edges."""
    number = np.full(hole.shape, -1)
    number[hole] = np.arange(hole.sum())
    matrix, right = sparse.lil_matrix((hole.sum(), hole.sum())), np.zeros(hole.sum())
    for y, x in np.argwhere(hole):
        for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            if 0 <= v < hole.shape[0] and 0 <= u < hole.shape[1]:
                matrix[number[y, x], number[y, x]] += 1
                if hole[v, u]:
                    matrix[number[y, x], number[v, u]] -= 1
                else:
                    right[number[y, x]] += values[v, u]
    result = values.copy()
    result[hole] = spsolve(matrix.tocsr(), right)
    return result


@pytest.mark.parametrize(("height", "width"), [(40, 40), (32, 64), (64, 16), (8, 8), (80, 96)])
def test_the_extension_is_the_solution_of_laplaces_equation(height: int, width: int) -> None:
    for seed in range(4):
        hole = blob(height, width, seed)
        y, x = np.mgrid[0:height, 0:width]
        values = 20 * np.sin(x / 7 + seed) + 10 * np.cos(y / 5) + 0.3 * x  # as smooth as a rim's difference
        found = extend(values[None], hole)[0]
        assert np.array_equal(found[~hole], values[~hole])
        assert np.abs(found - direct(values, hole)).max() < 0.01 * np.ptp(values)


@settings(max_examples=40, deadline=None)
@given(st.integers(4, 40), st.integers(4, 40), st.integers(0, 2**32 - 1))
def test_nothing_overshoots_the_values_around_the_hole(height: int, width: int, seed: int) -> None:
    hole = blob(height, width, seed)
    values = np.random.default_rng(seed).normal(0, 50, (1, height, width))
    low, high = values[0][~hole].min(), values[0][~hole].max()
    found = extend(values, hole)
    assert low - 5 < found.min() and found.max() < high + 5, "the solver diverges"


def test_a_linear_step_is_continued_exactly() -> None:
    hole = np.zeros((64, 64), bool)
    hole[20:41, 17:50] = hole[30:55, 25:31] = True
    y, x = np.mgrid[0:64, 0:64]
    slope = 3 + 0.2 * x - 0.4 * y
    assert np.abs(extend(slope[None], hole)[0] - slope).max() < 0.02


def test_a_constant_step_vanishes() -> None:
    picture = np.full((48, 48, 3), [90, 120, 200], np.uint8)
    hole = blob(48, 48, 3)
    fill = np.full((48, 48, 3), [100.0, 120.0, 180.0])
    fill[hole] += np.random.default_rng(0).normal(0, 20, (int(hole.sum()), 3))  # what is in the hole stays
    found = correction(picture, fill, hole)
    assert np.allclose(found, [-10, 0, 20], atol=1e-9)


def test_what_the_picture_has_in_the_hole_does_not_count() -> None:
    rng = np.random.default_rng(5)
    picture, hole = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8), blob(32, 32, 8)
    fill = rng.uniform(0, 255, (32, 32, 3))
    other = picture.copy()
    other[hole] = 255 - other[hole]
    assert np.array_equal(correction(picture, fill, hole), correction(other, fill, hole))


def test_an_edge_that_the_fill_continues_is_not_touched() -> None:
    """Half sky, half rock, the same in both: the step is the same everywhere, whatever the contrast."""
    picture = np.full((64, 64, 3), 220, np.uint8)
    picture[30:] = 60
    hole = np.zeros((64, 64), bool)
    hole[18:45, 20:44] = True
    fill = picture.astype(np.float64) - 12
    assert np.allclose(correction(picture, fill, hole), 12, atol=1e-9)


def test_a_hole_that_is_too_small_for_the_model_changes_nothing_but_the_low_pass() -> None:
    picture, fill = np.full((16, 16, 3), 100, np.uint8), np.full((16, 16, 3), 90.0)
    assert np.allclose(correction(picture, fill, np.zeros((16, 16), bool)), 10)
