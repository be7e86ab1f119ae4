"""EXIF data: the orientation by its one tag, and all of it built anew."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from moebius_edge.photos import exif
from tests.photos.files import encoded, smooth, tiff

GPS = {1: (2, 2, b"N\0\0\0")}


def camera(orientation: int = 6) -> Image.Exif:
    data = Image.Exif()
    data[0x0112], data[0x010F], data[0x8298] = orientation, "a camera of fame", "somebody"
    data.get_ifd(exif.EXIF).update({0x9003: "2026:01:02 03:04:05", exif.WIDTH: 9, exif.HEIGHT: 7})
    data.get_ifd(exif.EXIF)[exif.MAKER_NOTE] = b"lens 7 of 9"
    data.get_ifd(exif.GPS).update({1: "N", 2: (48.0, 51.0, 30.0)})
    return data


def read(data: bytes | None) -> Image.Exif:
    assert data is not None and data.startswith(exif.PREFIX)
    found = Image.Exif()
    found.load(data)
    return found


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("value", range(1, 9))
def test_the_orientation_is_read_past_values_that_make_no_sense(order: str, value: int) -> None:
    entries = {
        0x010F: (2, 2**32 - 1, b"\xff" * 4),  # text that would be four gigabytes
        0x0112: (3, 1, struct.pack(order + "H", value).ljust(4, b"\0")),
        0x011A: (99, 1, b"\xff" * 4),  # of no type
    }
    for data in (tiff(entries, order), exif.PREFIX + tiff(entries, order, after=2**32 - 1)):
        assert exif.orientation(data) == value


@pytest.mark.parametrize(
    "entry",
    [
        (3, 1, b"\0\0\0\0"),
        (3, 1, b"\x09\0\0\0"),
        (3, 2, b"\x06\0\0\0"),
        (2, 1, b"6\0\0\0"),
        (4, 1, b"\x06\0\0\0"),  # as Chromium: of type SHORT
    ],
)
def test_what_is_no_orientation_is_1(entry: tuple[int, int, bytes]) -> None:
    assert exif.orientation(tiff({0x0112: entry})) == 1


@given(st.binary(max_size=200))
def test_any_bytes_have_an_orientation(data: bytes) -> None:
    for head in (b"", b"II*\0", b"MM\0*\0\0\0\x08"):
        assert 1 <= exif.orientation(head + data) <= 8


def test_what_is_kept_is_kept_and_fits_the_upright_picture() -> None:
    found = read(exif.rebuilt(exif.within(camera().tobytes()), (480, 320)))
    assert found[0x0112] == 1 and found[0x010F] == "a camera of fame" and found[0x8298] == "somebody"
    about = found.get_ifd(exif.EXIF)
    assert about[0x9003] == "2026:01:02 03:04:05" and about[exif.MAKER_NOTE] == b"lens 7 of 9"
    assert (about[exif.WIDTH], about[exif.HEIGHT]) == (480, 320)
    assert found.get_ifd(exif.GPS)[2] == (48.0, 51.0, 30.0)


def test_without_location_there_is_no_place_and_no_makers_note() -> None:
    found = read(exif.rebuilt(exif.within(camera().tobytes()), (480, 320), location=False))
    assert not found.get_ifd(exif.GPS) and exif.MAKER_NOTE not in found.get_ifd(exif.EXIF)
    assert found[0x010F] == "a camera of fame"


def test_no_picture_of_the_photo_stays() -> None:
    thumbnail = encoded(smooth(8, 8), "JPEG")
    first = tiff({0x010F: (2, 4, b"me!\0")}, after=26)
    second = struct.pack("<H", 2) + struct.pack("<HHII", 0x0201, 4, 1, 56)
    second += struct.pack("<HHII", 0x0202, 4, 1, len(thumbnail)) + bytes(4)
    data = first + second + thumbnail
    rebuilt = exif.rebuilt(exif.within(data), (9, 9))
    assert rebuilt is not None and b"\xff\xd8" not in rebuilt and b"me!" in rebuilt
    noted = camera()
    noted.get_ifd(exif.EXIF)[exif.MAKER_NOTE] = b"preview" + thumbnail
    rebuilt = exif.rebuilt(exif.within(noted.tobytes()), (9, 9))
    assert rebuilt is not None and b"\xff\xd8" not in rebuilt and b"a camera of fame" in rebuilt


def test_a_directory_that_contains_itself_is_read_once() -> None:
    loop = tiff({0x010F: (2, 4, b"me!\0"), exif.EXIF: (4, 1, struct.pack("<I", 8))})
    assert exif.rebuilt(exif.within(loop), (9, 9)) == exif.PREFIX + tiff({0x010F: (2, 4, b"me!\0")})


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_any_damage_gives_data_that_can_be_rebuilt_again_or_none(data: st.DataObject) -> None:
    raw = bytearray(camera().tobytes()[6:])
    for _ in range(data.draw(st.integers(1, 6))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    once = exif.rebuilt(exif.within(bytes(raw)), (4, 4))
    if once is not None:
        assert exif.rebuilt(exif.within(once), (4, 4)) == once
        assert exif.orientation(once) == 1


def test_directories_of_any_size_stay_within_the_limits() -> None:
    many = {tag: (4, 2**18, struct.pack("<I", 0)) for tag in range(0x9000, 0x9200)}
    reads: list[int] = []

    def at(offset: int, size: int) -> bytes:
        reads.append(size)
        return data[offset : offset + size].ljust(size, b"\0")

    data = tiff(many)
    rebuilt = exif.rebuilt(at, (4, 4))
    assert rebuilt is not None and len(rebuilt) < exif.MAX_BYTES + 20_000
    assert sum(reads) < 2 * exif.MAX_BYTES
