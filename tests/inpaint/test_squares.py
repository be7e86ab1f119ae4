"""The square at the model's size: strip by strip, and with what stands for pixels that mean nothing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from moebius_edge.common.errors import InvalidInput
from moebius_edge.inpaint import squares
from moebius_edge.inpaint.crops import Crop, choose_crop
from moebius_edge.inpaint.imaging import Bytes
from moebius_edge.inpaint.options import InpaintOptions
from moebius_edge.inpaint.portable import PortableEdit, Surface
from moebius_edge.inpaint.squares import complete, picture_of, touched
from tests.inpaint.masks import boxes


def test_what_is_beyond_the_photo_is_mirrored_with_its_mask() -> None:
    column = np.arange(6, dtype=np.uint8)[:, None].repeat(10, 1)
    cut = picture_of(Crop(0, -2, 10), column, 10)
    assert cut[:, 0].tolist() == [1, 0, 0, 1, 2, 3, 4, 5, 5, 4]
    assert touched(Crop(0, -2, 10), column == 5, 10)[:, 0].tolist() == [False] * 7 + [True, True, False]


@settings(max_examples=60, deadline=None)
@given(boxes(), st.integers(0, 2**32 - 1), st.booleans())
def test_strips_give_the_picture_that_pillow_gives_at_once(
    case: tuple[tuple[int, int, int, int], tuple[int, int]], seed: int, box_filter: bool
) -> None:
    box, (width, height) = case
    photo = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    crop = choose_crop(box, (width, height), 64, 1.0, 8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(squares, "STRIP", 1000)
        result = picture_of(crop, photo, 64, box=box_filter)
    whole = Image.fromarray(square(crop, photo))
    filter = Image.Resampling.BOX if box_filter else Image.Resampling.LANCZOS
    assert np.array_equal(result, np.asarray(whole.resize((64, 64), filter)))


def square(crop: Crop, photo: Bytes) -> Bytes:
    """The square [side,side,3] of a photo, mirrored at its edges."""
    height, width = photo.shape[:2]
    rows = mirrored(np.arange(crop.top, crop.top + crop.side), height)
    return photo[rows[:, None], mirrored(np.arange(crop.left, crop.left + crop.side), width)]


def mirrored(places: Bytes, length: int) -> Bytes:
    places = places % (2 * length)
    return np.where(places < length, places, 2 * length - 1 - places)


@settings(max_examples=60, deadline=None)
@given(boxes(), st.integers(0, 2**32 - 1))
def test_unknown_colours_change_nothing_and_known_ones_stay(
    case: tuple[tuple[int, int, int, int], tuple[int, int]], seed: int
) -> None:
    box, (width, height) = case
    rng = np.random.default_rng(seed)
    photo = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    where = rng.random((height, width)) < 0.5
    where[height // 2, width // 2] = False
    other = np.where(where[..., None], 255 - photo, photo)
    crop = choose_crop(box, (width, height), 64, 4.0, 8)
    unknown, again = complete(crop, photo, where, 64), complete(crop, other, where, 64)
    assert unknown is not None and again is not None
    for box_filter in (False, True):
        one = picture_of(crop, photo, 64, unknown, box=box_filter)
        assert np.array_equal(one, picture_of(crop, other, 64, again, box=box_filter))


def test_an_unknown_pixel_has_the_mean_of_what_is_known_in_its_cell() -> None:
    photo = np.zeros((128, 128, 3), np.uint8)
    photo[:2, :2] = [[[10, 0, 0], [20, 0, 0]], [[60, 0, 0], [0, 0, 0]]]
    where = np.zeros((128, 128), bool)
    where[1, 1] = True  # the last of the four photo pixels of the model's first one
    unknown = complete(Crop(0, 0, 128), photo, where, 64)
    assert unknown is not None
    assert unknown.cells[0, 0].tolist() == [30, 0, 0] and not unknown.cells[1:].any()


@pytest.mark.parametrize("side", [64, 65, 100, 127, 200])
def test_cells_divide_a_square_of_any_side_as_the_specification_says(side: int) -> None:
    """docs/loop.md, step 4: pixel i is in the cell floor(i n / side)."""
    photo = np.random.default_rng(side).integers(0, 256, (side, side, 3), dtype=np.uint8)
    where = np.zeros((side, side), bool)
    where[3, 5] = True
    unknown = complete(Crop(0, 0, side), photo, where, 64)
    assert unknown is not None
    cell = np.arange(side) * 64 // side
    for y, x in ((0, 0), (0, 1), (1, 2), (31, 30), (63, 63)):
        part = photo[np.ix_(cell == y, cell == x)][~where[np.ix_(cell == y, cell == x)]]
        assert unknown.cells[y, x].tolist() == np.rint(part.mean(axis=0)).tolist()


def test_a_single_pixel_of_the_mask_touches_one_of_the_models() -> None:
    mask = np.zeros((640, 640), bool)
    mask[315, 0] = True
    assert np.argwhere(touched(Crop(0, 0, 640), mask, 64)).tolist() == [[31, 0]]


def test_where_nothing_is_known_colours_go_on_from_around() -> None:
    photo = np.full((64, 64, 3), 100, np.uint8)
    where = np.zeros((64, 64), bool)
    where[:, 20:] = True
    photo[where] = 255
    unknown = complete(Crop(0, 0, 64), photo, where, 64)
    assert unknown is not None and (picture_of(Crop(0, 0, 64), photo, 64, unknown) == 100).all()


def test_a_square_without_unknown_pixels_is_left_alone() -> None:
    where = np.zeros((100, 100), bool)
    where[90:, 90:] = True
    assert complete(Crop(0, 0, 64), np.zeros((100, 100, 3), np.uint8), where, 64) is None


def test_a_square_without_known_pixels_is_refused() -> None:
    where = np.ones((100, 100), bool)
    where[90:, 90:] = False
    with pytest.raises(InvalidInput, match="fully transparent: nothing is left"):
        complete(Crop(0, 0, 64), np.zeros((100, 100, 3), np.uint8), where, 64)


@pytest.mark.parametrize("side", [8, 64])  # with and without pixels of the mask among the unknown ones
def test_what_is_to_be_removed_does_not_stand_for_what_is_transparent(side: int) -> None:
    mask, clear = np.zeros((side, side), bool), np.ones((side, side), bool)
    mask[4, 4], clear[4, 4] = True, False  # all that can be seen is to be removed
    surface = Surface(np.full((side, side, 3), 200, np.uint8), mask, clear, (0, 0))
    crop = Crop(0, 0, side)
    with pytest.raises(InvalidInput, match="fully transparent: nothing is left"):
        PortableEdit.of(surface, crop, (16, 4), InpaintOptions())
    clear[4, 6] = False
    PortableEdit.of(surface, crop, (16, 4), InpaintOptions())
