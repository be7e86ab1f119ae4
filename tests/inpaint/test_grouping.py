"""Which parts of a mask are holes of their own."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moebius_edge.inpaint import crops
from moebius_edge.inpaint.grouping import separate
from moebius_edge.inpaint.imaging import Bools
from moebius_edge.inpaint.morphology import Box, bounding_box

PARTS = st.lists(st.tuples(*[st.integers(0, 399)] * 2, st.integers(1, 60), st.integers(1, 60)), min_size=1)


def masked(parts: list[tuple[int, int, int, int]], width: int = 400, height: int = 300) -> Bools:
    mask = np.zeros((height, width), bool)
    for left, top, wide, high in parts:
        mask[top % height : top % height + high, left % width : left % width + wide] = True
    return mask


def holes(mask: Bools, margin: float = 1.0, feather: int = 8) -> tuple[list[Box], list[Box]]:
    """The boxes of the holes, and what their squares cover."""
    size, resolution = (mask.shape[1], mask.shape[0]), 32

    def covered(box: Box) -> Box:
        return crops.square(box, size, resolution, margin, feather).inside(*size)

    found = separate(mask, resolution, covered)
    return found, [covered(box) for box in found]


@settings(max_examples=100, deadline=None)
@given(PARTS, st.sampled_from([0.0, 0.25, 1.0]))
def test_each_pixel_is_in_one_hole_and_no_square_sees_another(
    parts: list[tuple[int, int, int, int]], margin: float
) -> None:
    mask = masked(parts)
    found, squares = holes(mask, margin)
    rest = mask.copy()
    for i, ((left, top, right, bottom), square) in enumerate(zip(found, squares, strict=True)):
        own = np.zeros_like(mask)
        own[top:bottom, left:right] = mask[top:bottom, left:right]
        assert bounding_box(own) == (left, top, right, bottom), "the box is larger than the hole"
        seen = mask[square[1] : square[3], square[0] : square[2]]
        assert seen.sum() == own.sum(), "the square sees another hole"
        rest &= ~own
        for x, y, far, low in squares[:i]:
            assert x >= square[2] or far <= square[0] or y >= square[3] or low <= square[1]
    assert not rest.any(), "a pixel is in no hole"


@settings(max_examples=50, deadline=None)
@given(PARTS)
def test_a_mirrored_mask_has_the_mirrored_number_of_holes(parts: list[tuple[int, int, int, int]]) -> None:
    # 400 and 300 are no multiples of the cells, and places are rounded down, so the boxes may differ.
    mask = masked(parts, 416, 320)
    found, _ = holes(mask, margin=0.25)
    turned, _ = holes(mask.T, margin=0.25)
    assert {(y, x, low, far) for x, y, far, low in turned} == set(found)


def test_far_parts_are_holes_of_their_own_and_near_ones_are_not() -> None:
    corners = [(5, 5, 10, 10), (380, 280, 10, 10)]
    assert holes(masked(corners))[0] == [(5, 5, 15, 15), (380, 280, 390, 290)]
    assert len(holes(masked([*corners, (60, 5, 10, 10)]))[0]) == 2  # beside the first


def test_holes_go_from_top_to_bottom_and_from_left_to_right() -> None:
    parts = [(380, 5, 10, 10), (5, 140, 10, 10), (380, 140, 10, 10), (5, 280, 10, 10)]
    assert [box[:2] for box in holes(masked(parts), 0.25)[0]] == [part[:2] for part in parts]


@pytest.mark.parametrize(
    ("other", "count"),
    [
        ((95, 48), 1),  # to the right
        ((96, 48), 2),
        ((48, 95), 1),  # below
        ((95, 95), 1),  # touching at a corner
        ((8, 95), 1),  # at the other one
        ((0, 95), 2),
    ],
)
def test_parts_in_touching_cells_are_one_hole_whatever_their_squares_see(
    other: tuple[int, int], count: int
) -> None:
    """Cells have 8 pixels. Without margin and feather a square ends where its part does."""
    assert len(holes(masked([(48, 48, 40, 40), (*other, 40, 40)]), 0.0, feather=0)[0]) == count


def test_joining_goes_on_until_no_square_overlaps() -> None:
    """The first two overlap; only the square around both reaches the third."""
    parts = [(0, 0, 40, 10), (100, 0, 40, 10), (260, 20, 10, 10)]
    assert len(holes(masked(parts[1:]), 0.25)[0]) == 2
    assert holes(masked(parts), 1.0)[0] == [(0, 0, 270, 30)]


def test_specks_all_over_are_one_hole() -> None:
    mask = np.zeros((1000, 1000), bool)
    mask[::10, ::10] = True
    assert holes(mask)[0] == [(0, 0, 991, 991)]


def test_of_thousands_of_large_squares_no_pairs_are_listed() -> None:
    """All 32 million pairs overlap; as a list they are gigabytes."""
    mask = np.zeros((90 * 8, 90 * 8), bool)
    mask[::8, ::8] = True  # with cells of four pixels no two touch
    tracemalloc.start()
    found = separate(mask, 16, lambda _: (0, 0, 720, 720))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == [(0, 0, 713, 713)]
    assert peak < 20e6
