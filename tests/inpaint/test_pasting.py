"""The feather and the paste: strip by strip, and the same as at once."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from moebius_edge.inpaint import pasting
from moebius_edge.inpaint.crops import choose_crop
from moebius_edge.inpaint.morphology import bounding_box
from moebius_edge.inpaint.pasting import feathered, paste
from moebius_edge.inpaint.squares import picture_of, touched
from tests.inpaint.masks import boxes, within


@settings(max_examples=60, deadline=None)
@given(boxes(), st.integers(0, 40), st.integers(0, 2**32 - 1))
def test_strips_paste_what_is_pasted_at_once(
    case: tuple[tuple[int, int, int, int], tuple[int, int]], feather: int, seed: int
) -> None:
    (left, top, right, bottom), (width, height) = case
    rng = np.random.default_rng(seed)
    photo = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    mask = np.zeros((height, width), bool)
    mask[top:bottom, left:right] = rng.random((bottom - top, right - left)) < 0.1
    assume(mask.any())
    fill = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    crop = choose_crop(bounding_box(mask), (width, height), 64, 0.25, feather)
    result = photo.copy()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pasting, "STRIP", 1000)
        paste(crop, result, mask, fill, feather)
    # All of it at once: the fill at the square's size, and the opacity of the part that is in the photo.
    scaled = np.asarray(Image.fromarray(fill).resize((crop.side, crop.side), Image.Resampling.LANCZOS))
    x, y, right, bottom = crop.inside(width, height)
    new = scaled[y - crop.top : bottom - crop.top, x - crop.left : right - crop.left].astype(np.float32)
    opacity = plain_opacity(mask[y:bottom, x:right], feather)[..., None]
    wanted = photo.copy()
    wanted[y:bottom, x:right] = np.rint(opacity * new + (1 - opacity) * photo[y:bottom, x:right])
    assert np.array_equal(result, wanted)


def plain_opacity(mask: np.ndarray, feather: int) -> np.ndarray:
    """The mask, grown by half of the feather, in the mean over a window of the other half."""
    blur = feather // 2
    wide = np.pad(within(mask, feather - blur), blur, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(wide, (2 * blur + 1, 2 * blur + 1))
    return (windows.sum((2, 3)) / (2 * blur + 1) ** 2).astype(np.float32)


@settings(deadline=None)
@given(st.integers(1, 24), st.integers(1, 24), st.integers(0, 9), st.integers(0, 2**32 - 1))
def test_the_fill_is_opaque_in_the_mask_and_fades_out(
    height: int, width: int, feather: int, seed: int
) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < 0.03
    mask[seed % height, seed % width] = True
    opacity = feathered(mask, feather)
    assert opacity.min() >= 0 and opacity.max() <= 1
    assert (opacity[mask] == 1).all(), "the fill is not opaque in the mask"
    assert (opacity[~within(mask, feather)] == 0).all(), "the fill reaches beyond the feather"
    assert (opacity[within(mask, feather - feather // 2 * 2)] > 0).all(), "the feather is too narrow"


def test_the_feather_falls_steadily() -> None:
    mask = np.zeros((40, 40), bool)
    mask[10:20, :] = True
    profile = feathered(mask, 8)[20:30, 20]
    assert (np.diff(profile[:8]) < 0).all() and profile[7] > 0 and profile[8] == 0


@settings(max_examples=60, deadline=None)
@given(boxes(), st.integers(0, 12), st.integers(0, 2**32 - 1))
def test_pasting_changes_no_pixel_beyond_the_feather(
    case: tuple[tuple[int, int, int, int], tuple[int, int]], feather: int, seed: int
) -> None:
    (left, top, right, bottom), (width, height) = case
    assume((right - left) * (bottom - top) < 4000)
    rng = np.random.default_rng(seed)
    photo = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    mask = np.zeros((height, width), bool)
    mask[top:bottom, left:right] = True
    crop = choose_crop((left, top, right, bottom), (width, height), 64, 0.25, feather)
    fill = np.full((64, 64, 3), 77, np.uint8)
    result = photo.copy()
    paste(crop, result, mask, fill, feather)
    near = np.zeros_like(mask)
    near[max(top - feather, 0) : bottom + feather, max(left - feather, 0) : right + feather] = True
    assert np.array_equal(result[~near], photo[~near]), "a pixel beyond the feather changed"
    assert (result[mask] == 77).all(), "a pixel of the mask is not the fill's"


def test_the_models_own_picture_comes_back_in_place() -> None:
    """At the photo's own resolution a perfect model changes nothing; a shift by one pixel would."""
    photo = np.random.default_rng(1).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    mask = np.zeros((200, 300), bool)
    mask[80:100, 250:270] = True
    crop = choose_crop(bounding_box(mask), (300, 200), 64, 0.25, 4)
    picture = picture_of(crop, photo, 64)
    assert crop.side == 64
    result = photo.copy()
    paste(crop, result, mask, picture, 4)
    assert np.array_equal(result, photo)


def test_a_larger_crop_comes_back_in_place() -> None:
    """A smooth photo through a crop of another size: off by a little rounding, not by a shift."""
    rows, columns = np.mgrid[0:300, 0:400]
    photo = np.stack([rows * 0.6, columns * 0.5, 120 + 50 * np.sin(rows / 40)], -1).astype(np.uint8)
    mask = np.zeros((300, 400), bool)
    mask[100:200, 150:260] = True
    crop = choose_crop(bounding_box(mask), (400, 300), 64, 0.25, 8)
    assert crop.side > 2 * 64
    result = photo.copy()
    paste(crop, result, mask, picture_of(crop, photo, 64), 8)
    assert np.abs(result.astype(int) - photo).max() <= 2


def test_memory_follows_a_strip() -> None:
    photo, mask = np.zeros((3000, 4000, 3), np.uint8), np.zeros((3000, 4000), bool)
    mask[600:2400, 800:3200] = True
    crop = choose_crop(bounding_box(mask), (4000, 3000), 64, 0.25, 500)
    tracemalloc.start()
    try:
        picture_of(crop, photo, 64)
        touched(crop, mask, 64)
        paste(crop, photo, mask, np.zeros((64, 64, 3), np.uint8), 500)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # The square has 12 million pixels: 144 MB in floats. A strip of 1 million takes some arrays of 12.
    assert crop.side > 3000 and peak < 100e6
