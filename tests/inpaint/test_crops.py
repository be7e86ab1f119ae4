"""The context crop: its square, and the hole that the model gets."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moebius_edge.common.errors import InvalidInput
from moebius_edge.inpaint.crops import (
    MAX_SIDE,
    Crop,
    choose_crop,
    closer_crop,
    model_hole,
)
from moebius_edge.inpaint.morphology import bounding_box
from moebius_edge.inpaint.options import InpaintOptions
from moebius_edge.inpaint.squares import touched
from tests.inpaint.masks import boxes


def test_a_square_that_no_memory_holds_is_refused() -> None:
    with pytest.raises(InvalidInput, match="spans 25,000 pixels"):
        choose_crop((0, 1, 25_000, 3), (30_000, 8), 512, 0.25, 8)
    assert choose_crop((100, 1, 120, 3), (10_000_000, 8), 512, 0.25, 8).side <= MAX_SIDE
    # 108 megapixels, one hole over nearly all of it
    assert choose_crop((0, 0, 11_900, 8_900), (12_000, 9_000), 512, 0.25, 8).side == 12_000


@given(boxes(), st.sampled_from([32, 64, 128]), st.integers(0, 40))
def test_the_crop_contains_the_hole(
    case: tuple[tuple[int, int, int, int], tuple[int, int]], resolution: int, feather: int
) -> None:
    (left, top, right, bottom), (width, height) = case
    crop = choose_crop((left, top, right, bottom), (width, height), resolution, 0.25, feather)
    inside = crop.inside(width, height)
    assert inside[0] <= left and inside[1] <= top and inside[2] >= right and inside[3] >= bottom
    assert crop.side >= min(resolution, width, height)
    # The feather is cut off by the photo's edge only.
    assert inside[0] in (0, min(inside[0], left - feather)) and inside[1] in (
        0,
        min(inside[1], top - feather),
    )
    assert inside[2] in (width, max(inside[2], right + feather))
    assert inside[3] in (height, max(inside[3], bottom + feather))
    # It leaves the photo only where the photo is too short for it.
    if crop.side <= width:
        assert inside[2] - inside[0] == crop.side
    if crop.side <= height:
        assert inside[3] - inside[1] == crop.side


@pytest.mark.parametrize(
    ("box", "size", "expected"),
    [
        ((500, 400, 550, 480), (2000, 1000), Crop(397, 312, 256)),  # small: the photo's own pixels
        ((500, 400, 700, 600), (2000, 1000), Crop(436, 336, 328)),  # 200 + 2 x 64
        ((500, 100, 1300, 900), (4000, 3000), Crop(300, 0, 1200)),  # large: 800 + 2 x 200
        ((0, 0, 20, 20), (2000, 1000), Crop(0, 0, 256)),  # in a corner
        ((50, 50, 90, 90), (200, 150), Crop(0, 0, 150)),  # a small photo: scaled up
        ((400, 50, 700, 350), (1000, 400), Crop(325, -25, 450)),  # mirrored above and below
        ((100, 10, 900, 20), (1000, 100), Crop(0, -450, 1000)),  # two far holes of a panorama
    ],
)
def test_crops_of_a_256_pixel_model(
    box: tuple[int, int, int, int], size: tuple[int, int], expected: Crop
) -> None:
    assert choose_crop(box, size, 256, 0.25, 8) == expected


@pytest.mark.parametrize(
    ("box", "size", "expected"),
    [
        ((500, 400, 550, 480), (2000, 1000), Crop(229, 144, 592)),  # 80 + 2 x 256
        ((500, 400, 900, 600), (4000, 3000), Crop(100, 0, 1200)),  # 400 + 2 x 400: a third is hole
        ((500, 400, 550, 480), (2000, 500), Crop(275, 0, 500)),  # no more than the photo has
        ((100, 10, 200, 310), (1000, 600), Crop(0, 0, 600)),  # half of the hole on each side: still real
        ((100, 10, 200, 310), (1000, 590), Crop(0, -5, 600)),  # less than that: mirrored
    ],
)
def test_the_default_margin_gives_as_much_as_the_hole_or_the_model(
    box: tuple[int, int, int, int], size: tuple[int, int], expected: Crop
) -> None:
    assert choose_crop(box, size, 256, InpaintOptions().margin, 8) == expected


def test_far_apart_holes_share_one_crop() -> None:
    mask = np.zeros((100, 300), bool)
    mask[10, 20] = mask[90, 280] = True
    assert bounding_box(mask) == (20, 10, 281, 91)


def test_the_second_pass_sees_all_of_the_hole_much_closer_or_there_is_none() -> None:
    box, photo = (700, 400, 800, 480), (4000, 3000)
    wide = choose_crop(box, photo, 256, 1.0, 8)
    assert closer_crop(wide, box, photo, 256, 8) == Crop(622, 312, 256) and wide.side == 612
    large = (700, 400, 1300, 480)  # 600 pixels: a quarter of them on each side
    assert closer_crop(Crop(0, 0, 1800), large, photo, 256, 8) == Crop(550, 0, 900)
    assert closer_crop(Crop(0, 0, 320), box, photo, 256, 8) is not None
    assert closer_crop(Crop(0, 0, 319), box, photo, 256, 8) is None
    # A square that would be refused is none, for the first pass may be sound.
    box, photo = (0, 0, 12_000, 12_000), (20_000, 20_000)
    assert closer_crop(choose_crop(box, photo, 256, 0.0, 8), box, photo, 256, 8) is None


def test_no_part_of_a_mask_is_lost_at_latent_size() -> None:
    for y, x in ((0, 0), (3, 5), (60, 7), (255, 255), (130, 131)):
        mask = np.zeros((256, 256), bool)
        mask[y, x] = True
        hole = model_hole(touched(Crop(0, 0, 256), mask, 64), 8)
        assert hole[::8, ::8].any(), (y, x)


def test_a_hole_without_context_is_refused() -> None:
    mask = np.ones((64, 64), bool)
    mask[30, 30] = False
    with pytest.raises(InvalidInput, match="leaves nothing around it"):
        model_hole(touched(Crop(0, 0, 64), mask, 64), 8)


@given(boxes(), st.sampled_from([32, 64, 128]), st.sampled_from([0.0, 0.25, 1.0, 4.0]), st.integers(0, 40))
def test_the_second_square_lies_in_the_part_that_the_first_one_covers(
    case: tuple[tuple[int, int, int, int], tuple[int, int]], resolution: int, margin: float, feather: int
) -> None:
    box, size = case
    first = choose_crop(box, size, resolution, margin, feather)
    second = closer_crop(first, box, size, resolution, feather)
    if second is not None:
        left, top, right, bottom = first.inside(*size)
        x, y, far, low = second.inside(*size)
        assert left <= x < far <= right and top <= y < low <= bottom
