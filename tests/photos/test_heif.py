"""HEIC photos, by the extra `heif`, and AVIF pictures of more than 8 bits."""

import base64
import io
import sys

import numpy as np
import pytest
from PIL import Image

from moebius_edge.common.errors import InvalidInput
from moebius_edge.photos import isobmff
from moebius_edge.photos.reading import read_photo
from tests.photos.files import encoded, smooth

pillow_heif = pytest.importorskip("pillow_heif")
SAYS_HEIC = b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic" + bytes(3000)
# 16x16 grey pixels, 10 bits each: Pillow reads such files and does not write them.
AVIF10 = base64.b64decode(
    "AAAAIGZ0eXBhdmlmAAAAAGF2aWZtaWYxbWlhZk1BMUIAAAD5bWV0YQAAAAAAAAAvaGRscgAAAAAAAAAAcGljdAAAAAAAAAAAAAAA"
    "AFBpY3R1cmVIYW5kbGVyAAAAAA5waXRtAAAAAAABAAAAHmlsb2MAAAAARAAAAQABAAAAAQAAASEAAAATAAAAKGlpbmYAAAAAAAEA"
    "AAAaaW5mZQIAAAAAAQAAYXYwMUNvbG9yAAAAAGppcHJwAAAAS2lwY28AAAAUaXNwZQAAAAAAAAAQAAAAEAAAABBwaXhpAAAAAAMK"
    "CgoAAAAMYXYxQ4EATAAAAAATY29scm5jbHgAAgACAAIAAAAAF2lwbWEAAAAAAAAAAQABBAECgwQAAAAbbWRhdAoGGAz/2oCAMgkY"
    "AAAAUAAAAJw="
)
AVIF12 = AVIF10.replace(b"av1C\x81\x00\x4c", b"av1C\x81\x00\x6c")


@pytest.fixture(autouse=True)
def registered() -> None:
    pillow_heif.register_heif_opener()


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_heic_photo_is_read_upright_with_its_metadata(orientation: int) -> None:
    data = Image.Exif()
    data[0x010F], data[0x0112] = "a phone", orientation
    photo = read_photo(encoded(smooth(), "HEIF", exif=data.tobytes(), quality=90))
    upright = {1: 0, 3: 2, 6: -1, 8: 1}[orientation]
    expected = np.rot90(np.asarray(smooth()), upright)
    assert photo.rgb.shape == expected.shape and np.abs(photo.rgb.astype(int) - expected).mean() < 4
    assert photo.carried.exif is not None and b"a phone" in photo.carried.exif and not photo.notes


def test_ten_bits_are_noted() -> None:
    deep = pillow_heif.from_bytes("RGB;16", (64, 64), np.full((64, 64, 3), 1 << 15, np.uint16).tobytes())
    file = io.BytesIO()
    deep.save(file, quality=90)
    photo = read_photo(file.getvalue())
    assert any("10 bits per channel; 8 of them are kept" in note or "12 bits" in note for note in photo.notes)
    assert np.abs(photo.rgb.astype(int) - 128).max() < 4


def test_the_bits_of_an_avif_are_noted() -> None:
    photo = read_photo(AVIF10)
    assert photo.notes == ("the photo has 10 bits per channel; 8 of them are kept",)
    assert photo.rgb.shape == (16, 16, 3) and np.ptp(photo.rgb) == 0
    assert isobmff.av1_bits(io.BytesIO(AVIF12)) == 12


def test_further_pictures_are_noted_and_the_shown_one_is_read() -> None:
    both = pillow_heif.from_pillow(smooth())
    both.add_from_pillow(smooth(32, 32))
    file = io.BytesIO()
    both.save(file, quality=90)
    photo = read_photo(file.getvalue())
    assert photo.size == smooth().size
    assert photo.notes == ("the photo also holds further pictures, which the result does not have",)


def test_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(
        InvalidInput, match=r"HEIC photo, which pillow-heif reads; .*\[heif\].*as JPEG or PNG"
    ):
        read_photo(SAYS_HEIC)


def test_a_damaged_one_is_refused_in_one_line() -> None:
    sound = encoded(smooth(), "HEIF")
    for file in (SAYS_HEIC, sound[:200], sound[:-100], sound[:300] + bytes(50) + sound[350:]):
        with pytest.raises(InvalidInput, match="damaged or cut off") as caught:
            read_photo(file)
        assert "\n" not in str(caught.value)
