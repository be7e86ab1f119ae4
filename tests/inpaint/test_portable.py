"""What the model gets of a photo and what comes back into it, whatever lies where nothing is to be seen."""

from dataclasses import replace

import numpy as np
import pytest

from moebius_edge.common.errors import InvalidInput
from moebius_edge.inpaint.imaging import Bools, Bytes, Photo
from moebius_edge.inpaint.options import InpaintOptions
from moebius_edge.inpaint.portable import PortableEdit, PortableEdits

SIZE = 64, 8  # resolution and latent size
OPTIONS = InpaintOptions()


def photo(height: int, width: int, alpha: Bytes | None = None) -> Photo:
    rgb = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Photo(rgb, alpha)


def box(shape: tuple[int, int], left: int, top: int, right: int, bottom: int) -> Bools:
    mask = np.zeros(shape, bool)
    mask[top:bottom, left:right] = True
    return mask


def inverted(source: Photo, where: Bools) -> Photo:
    """The same photo with other colours in some places."""
    return replace(source, rgb=np.where(where[..., None], 255 - source.rgb, source.rgb))


FILL = np.full((64, 64, 3), 0.6, np.float32)


def filled(source: Photo, mask: Bools, options: InpaintOptions = OPTIONS) -> tuple[list[PortableEdit], Bytes]:
    """All passes, in which the model paints everything in one colour, and the result."""
    plan = PortableEdits.plan(replace(source, rgb=source.rgb.copy()), mask, SIZE, options)
    last = [edit.refined(FILL) if edit.closer else edit for edit in plan.edits]
    plan.finish([(edit, FILL) for edit in last])
    return [*plan.edits, *last], plan.photo.rgb


@pytest.mark.parametrize("blend", ["harmonic", "feather"])
@pytest.mark.parametrize("shape", [(60, 60), (300, 300)])  # with one pass, and with two
def test_what_is_clear_stays_and_its_colours_change_nothing(shape: tuple[int, int], blend: str) -> None:
    mask = box(shape, 20, 20, 40, 40)
    clear = box(shape, 30, 0, shape[1], shape[0])  # beside the hole, and half of it
    source = photo(*shape, np.where(clear, 0, 1).astype(np.uint8))  # 1: hardly to be seen, but not clear
    other = inverted(source, clear)
    passes, result = filled(source, mask, replace(OPTIONS, blend=blend))
    passes_again, again = filled(other, mask, replace(OPTIONS, blend=blend))
    for one, two in zip(passes, passes_again, strict=True):
        assert np.array_equal(one.picture, two.picture)
    assert np.array_equal(result[~clear], again[~clear])
    assert np.array_equal(result[clear], source.rgb[clear]) and np.array_equal(again[clear], other.rgb[clear])
    assert not np.array_equal(result[mask & ~clear], source.rgb[mask & ~clear])


def test_a_mask_over_nothing_that_can_be_seen_is_refused() -> None:
    mask, clear = box((300, 300), 20, 20, 40, 40), box((300, 300), 10, 10, 50, 50)
    source = photo(300, 300, np.where(clear, 0, 255).astype(np.uint8))
    with pytest.raises(InvalidInput, match="covers only pixels that are fully transparent"):
        filled(source, mask)
    mask[60, 60] = True
    filled(source, mask)


@pytest.mark.parametrize("side", [22, 36, 38, 64, 80])
def test_in_a_small_photo_what_is_removed_changes_nothing(side: int) -> None:
    """The filter reaches further than the hole is grown there: docs/loop.md, step 4."""
    mask = box((side, side), 11, 11, 20, 20)
    source = photo(side, side)
    (first, *_), result = filled(source, mask)
    (again, *_), other = filled(inverted(source, mask), mask)
    assert np.array_equal(first.picture[~first.hole], again.picture[~first.hole])
    assert np.array_equal(result, other)


def test_the_second_pass_sees_the_first_fill_without_a_feather() -> None:
    mask = box((300, 300), 140, 140, 160, 160)
    source = photo(300, 300)
    (edit,) = PortableEdits.plan(replace(source, rgb=source.rgb.copy()), mask, SIZE, OPTIONS).edits
    assert edit.closer is not None and edit.crop.side == edit.surface.rgb.shape[0]
    again = edit.refined(FILL)
    left, top = edit.surface.corner
    part = slice(top, top + edit.crop.side), slice(left, left + edit.crop.side)
    assert np.array_equal(again.surface.rgb[~mask[part]], source.rgb[part][~mask[part]])
    assert not (again.surface.rgb[mask[part]] == source.rgb[mask]).all(axis=1).any()


def test_the_second_pass_takes_the_first_fill_for_known() -> None:
    """In a square so small, too, that a first pass would hide what is masked."""
    mask = box((40, 200), 80, 5, 110, 35)
    (edit, again), _ = filled(photo(40, 200), mask, replace(OPTIONS, feather=2))
    assert edit.unknown is None and not edit.job().whole_start
    assert again.crop.side < 48 and again.unknown is None and again.job().whole_start
