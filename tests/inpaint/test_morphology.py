"""Boxes around masks, and masks that are grown."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moebius_edge.inpaint import morphology
from moebius_edge.inpaint.morphology import bounding_box, grow
from tests.inpaint.masks import within


@given(st.integers(1, 24), st.integers(1, 24), st.integers(0, 30), st.integers(0, 2**32 - 1))
def test_growing_reaches_as_far_as_the_radius(height: int, width: int, radius: int, seed: int) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < 0.03
    mask[seed % height, seed % width] = True
    before = mask.copy()
    assert np.array_equal(grow(mask, radius), within(mask, radius))
    assert np.array_equal(mask, before), "the mask itself was changed"


def test_blocks_of_lines_give_what_the_whole_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    mask = np.random.default_rng(0).random((40, 30)) < 0.02
    whole = grow(mask, 5)
    monkeypatch.setattr(morphology, "BLOCK", 70)  # two or one line
    assert np.array_equal(grow(mask, 5), whole)


def test_a_box_bounds_every_pixel() -> None:
    mask = np.zeros((100, 300), bool)
    mask[10, 20] = mask[90, 280] = True
    assert bounding_box(mask) == (20, 10, 281, 91)
