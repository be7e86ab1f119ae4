"""The holes of the evaluation: the same everywhere, and what they are said to be."""

from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from moebius_edge.common.errors import InvalidInput
from moebius_edge.training.cases import AREA, Mask, draw_object, make_cases, read_silhouettes

# Pixels in the holes, of 65,536, and the first digits of the objects' SHA-256.
PIXELS = [14058, 8025, 9632, 15436, 23740, 14260, 13801, 4161, 9544, 20121, 20101, 18225]
CHECKSUM = "8d7a11321179f2a0"
AREAS = [14132, 14919, 3800, 19656, 25061, 7085, 11704, 5525, 5346, 21105, 23104, 21608]


def disc_and_comb() -> list[Mask]:
    """A disc, and teeth of one pixel."""
    y, x = np.mgrid[-20:21, -20:21]
    comb = np.zeros((60, 90), dtype=bool)
    comb[:, ::3] = True
    return [x**2 + y**2 <= 400, comb]


@pytest.fixture
def silhouettes(tmp_path: Path) -> Path:
    folder = tmp_path / "objects"
    folder.mkdir()
    for number, outline in enumerate(disc_and_comb()):
        Image.fromarray(np.pad(outline, 5)).convert("1").save(folder / f"{number}.png")
    return folder


def checksum(masks: list[Mask]) -> str:
    return sha256(np.packbits(np.stack(masks)).tobytes()).hexdigest()[:16]


def test_objects_are_pinned() -> None:
    masks = [draw_object(np.random.default_rng(seed), 256, disc_and_comb()) for seed in range(12)]
    assert [int(mask.sum()) for mask in masks] == PIXELS
    assert checksum(masks) == CHECKSUM


def test_holes_are_pinned_and_within_their_area(photos: Path, silhouettes: Path) -> None:
    cases = make_cases([photos], silhouettes)
    assert cases.shown == ["0", "1", "2", "3"] * 3
    assert cases.kinds[:8] == ["object", "strokes", "box", "object", "strokes", "box", "object", "strokes"]
    assert {(cases.places[i], cases.kinds[i]) for i in range(12)} == {
        (place, kind) for place in range(4) for kind in ("object", "strokes", "box")
    }
    areas = [int(mask.sum()) for mask in cases.masks]
    assert areas == AREAS
    assert all(AREA[0] <= mask.mean() <= AREA[1] for mask in cases.masks)


def test_fewer_cases_are_the_first_ones_and_silhouettes_change_no_other_kind(
    photos: Path, silhouettes: Path
) -> None:
    whole, few, drawn = (
        make_cases([photos], silhouettes, side=64),
        make_cases([photos], silhouettes, 5, side=64),
        make_cases([photos, photos], side=64),
    )
    assert np.array_equal(np.stack(few.masks), np.stack(whole.masks[:5]))
    assert np.array_equal(few.photos, whole.photos[:5])
    for kind, mask, other in zip(whole.kinds[:4], whole.masks[:4], drawn.masks[:4], strict=True):
        assert np.array_equal(mask, other) == (kind != "object")
    assert len(drawn.masks) == 24


def test_slack_widens_every_part_of_an_outline() -> None:
    """Bars of one pixel, wherever they stand, become 5 to 11 wide."""
    bars = np.zeros((200, 201), dtype=bool)
    bars[:, ::40] = True
    widths = set()
    for seed in range(12):
        row = draw_object(np.random.default_rng(seed), 256, [bars])[128].astype(int)
        starts, ends = (np.flatnonzero(np.diff(row, prepend=0, append=0) == sign) for sign in (1, -1))
        assert len(starts) == 6
        widths |= set((ends - starts).tolist())
    assert {min(widths), max(widths)} == {5, 11}


def test_what_is_no_silhouette_is_refused(tmp_path: Path, photos: Path) -> None:
    with pytest.raises(InvalidInput, match="holds no silhouette"):
        read_silhouettes(tmp_path)
    Image.new("1", (8, 8)).save(tmp_path / "black.png")
    with pytest.raises(InvalidInput, match=r"black\.png is black"):
        read_silhouettes(tmp_path)
    (tmp_path / "black.png").write_bytes(b"no picture")
    with pytest.raises(InvalidInput, match="cannot read the silhouette"):
        read_silhouettes(tmp_path)
    with pytest.raises(InvalidInput, match="0 cases; expected at least 1"):
        make_cases([photos], count=0)
