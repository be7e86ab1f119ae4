from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from moebius_edge.bundle.folder import Bundle
from moebius_edge.common.errors import InvalidInput
from moebius_edge.inpaint.outline import outlined
from moebius_edge.training.gallery import GAP, LINE, OUTLINE, close_up, find_pairs, main, shrink


def test_every_pair_becomes_a_picture_of_four_tiles(
    photos: Path, tmp_path: Path, make_bundle: Callable[..., Bundle], capsys: pytest.CaptureFixture[str]
) -> None:
    for path in photos.glob("[0-9].png"):
        mask = np.zeros((80, 96), dtype=np.uint8)
        mask[30:36, 40:46] = 255
        Image.fromarray(mask).save(photos / f"{path.stem}-mask.png")
    output = tmp_path / "made" / "gallery"
    main([str(make_bundle().folder), "--photos", str(photos), "--output", str(output), "--tile", "48"])
    assert sorted(path.name for path in output.iterdir()) == ["0.jpg", "1.jpg", "2.jpg", "3.jpg"]
    with Image.open(output / "2.jpg") as picture:
        assert picture.size == (2 * 48 + GAP, 2 * 40 + GAP)
    assert "2.jpg: " in capsys.readouterr().out


def test_a_photo_without_its_mask_is_named(photos: Path) -> None:
    with pytest.raises(InvalidInput, match=r"has no 0-mask\.png, 1-mask\.png"):
        find_pairs(photos)


def test_the_outline_is_around_the_hole() -> None:
    photo, mask = np.zeros((20, 20, 3), dtype=np.uint8), np.zeros((20, 20), dtype=bool)
    mask[8:12, 8:12] = True
    marked = (outlined(photo, mask, LINE, OUTLINE) == OUTLINE).all(axis=-1)
    assert marked.sum() == 8 * 8 - 4 * 4
    assert not (marked & mask).any()


def test_nothing_of_the_object_is_left_beside_a_smaller_mask() -> None:
    photo, mask = np.zeros((90, 60, 3), dtype=np.uint8), np.zeros((90, 60), dtype=bool)
    mask[31, 31] = True
    small, hole = shrink(photo, mask, 30)
    assert small.shape == (30, 20, 3)
    assert np.argwhere(hole).tolist() == [[10, 10]]
    assert shrink(photo, mask, 200)[0].shape == photo.shape


def test_the_close_up_is_the_hole_and_a_quarter_of_it_around() -> None:
    picture, mask = np.zeros((90, 60, 3), dtype=np.uint8), np.zeros((90, 60), dtype=bool)
    mask[40:52, 20:24] = True
    picture[38:55, 16:28] = 200
    near = close_up(picture, mask)
    assert near.shape == picture.shape
    assert near[40:50, 25:35].min() == 200
    assert (near > 100).any(axis=-1).mean() == pytest.approx(17 / 18, abs=0.03)


def test_the_close_up_of_a_hole_at_the_corner_stays_inside() -> None:
    picture, mask = np.zeros((40, 60, 3), dtype=np.uint8), np.zeros((40, 60), dtype=bool)
    mask[:10, 50:] = True
    picture[:15, 38:] = 200
    assert close_up(picture, mask).min() == 200
    assert (close_up(picture, ~mask) == picture).all()
