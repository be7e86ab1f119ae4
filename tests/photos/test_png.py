"""PNG files with chunks of every kind of damage."""

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from moebius_edge.common.errors import InvalidInput
from moebius_edge.photos import deep, png
from moebius_edge.photos.options import ReadOptions
from moebius_edge.photos.reading import read_photo
from tests.photos.files import encoded, smooth, with_chunk, words

ANCILLARY = {
    b"gAMA": struct.pack(">I", 45455),
    b"cHRM": bytes(32),
    b"iCCP": b"x\0\0" + zlib.compress(b"profile"),
    b"eXIf": b"II*\0\x08\0\0\0\0\0\0\0\0\0",
    b"pHYs": struct.pack(">IIB", 2835, 2835, 1),
    b"tEXt": b"Title\0a wren",
    b"tIME": bytes(7),
    b"teSt": b"private",
}


@pytest.mark.parametrize("kind", ANCILLARY)
@pytest.mark.parametrize("damage", ["checksum", "longer", "shorter", "endless", "contents"])
def test_a_damaged_ancillary_chunk_costs_nothing_but_itself(kind: bytes, damage: str) -> None:
    contents = ANCILLARY[kind]
    good = png.chunk(kind, contents)
    chunk = {
        "checksum": good[:-1] + bytes([good[-1] ^ 255]),
        "longer": struct.pack(">I", len(contents) + 5) + good[4:],
        "shorter": struct.pack(">I", len(contents) - 1) + good[4:],
        "endless": b"\x7f\xff\xff\xff" + good[4:],
        "contents": png.chunk(kind, b"\xff\xfe" * 5),
    }[damage]
    photo = read_photo(png.with_chunks(encoded(smooth()), [chunk]))
    assert np.array_equal(photo.rgb, np.asarray(smooth()))
    if damage != "contents":
        assert any(
            f"damaged chunks of the photo are left out: {kind.decode()}" in note for note in photo.notes
        )


def test_a_damaged_picture_is_refused() -> None:
    file = bytearray(encoded(smooth()))
    file[file.index(b"IDAT") + 20] ^= 1
    with pytest.raises(InvalidInput, match="the checksum of its IDAT is wrong"):
        read_photo(bytes(file))


def test_what_is_behind_the_pixels_may_be_missing() -> None:
    file = encoded(smooth())
    for cut in (4, 12, 14, 16):  # IEND, and the checksum before it
        assert np.array_equal(read_photo(file[:-cut]).rgb, np.asarray(smooth()))


def test_many_small_pieces_of_pixels_are_one_picture() -> None:
    file = encoded(smooth())
    at = file.index(b"IDAT") - 4
    size = struct.unpack(">I", file[at : at + 4])[0]
    data = file[at + 8 : at + 8 + size]
    pieces = b"".join(png.chunk(b"IDAT", data[i : i + 1]) for i in range(len(data)))
    photo = read_photo(file[:at] + pieces + file[at + 12 + size :])
    assert np.array_equal(photo.rgb, np.asarray(smooth()))
    with pytest.raises(InvalidInput, match="more than 200,000 chunks"):
        read_photo(file[:33] + png.chunk(b"tEXt", b"a\0b") * 200_001 + file[33:])


def test_compressed_chunks_have_a_limit() -> None:
    bomb = zlib.compress(bytes(20 << 20), 9)
    photo = read_photo(with_chunk(b"iCCP", b"x\0\0" + bomb))
    assert photo.profile is None and "profile of the photo cannot be read" in photo.notes[0]
    assert read_photo(with_chunk(b"iTXt", png.XMP + b"\1\0\0\0" + bomb)).carried.xmp is None


def test_an_animation_that_shows_one_picture_is_a_photo() -> None:
    assert not read_photo(with_chunk(b"acTL", struct.pack(">II", 1, 0))).notes
    with pytest.raises(InvalidInput, match="is animated"):
        read_photo(with_chunk(b"acTL", struct.pack(">II", 2, 0)))


@pytest.mark.parametrize("packed", [False, True])
def test_xmp_is_found_in_its_text(packed: bool) -> None:
    text = b"<x:xmpmeta/>"
    body = png.XMP + (b"\1\0\0\0" + zlib.compress(text) if packed else bytes(4) + text)
    assert read_photo(with_chunk(b"iTXt", body)).carried.xmp == text


def test_a_transparent_colour_with_a_wrong_checksum_is_left_out() -> None:
    image = Image.new("P", (16, 16))
    file = encoded(image, transparency=0)
    assert read_photo(file).alpha is not None
    at = file.index(b"tRNS") + 5
    photo = read_photo(file[:at] + bytes([file[at] ^ 1]) + file[at + 1 :])
    assert photo.alpha is None and "left out: tRNS" in photo.notes[0]


def taller(image: Image.Image, height: int, **options: object) -> bytes:
    """A PNG that says it has more rows than there are."""
    file = bytearray(encoded(image, **options))
    file[20:24] = struct.pack(">I", height)
    file[29:33] = struct.pack(">I", zlib.crc32(file[12:29]))
    return bytes(file)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_a_png_whose_stream_ends_early_lacks_pixels(mode: str) -> None:
    file = taller(smooth().convert(mode), 128)  # of 96
    with pytest.raises(InvalidInput, match=r"cut off: 25 % of its picture are missing; .*--accept-truncated"):
        read_photo(file)
    photo = read_photo(file, ReadOptions(accept_truncated=True))
    assert photo.size == (128, 128) and "25 % of its picture" in photo.notes[0]
    assert np.array_equal(photo.rgb[:96], np.asarray(smooth().convert(mode).convert("RGB")))


def test_deep_and_keyed_pictures_lack_pixels_too() -> None:
    for file in (deep.png_file(words(3), []), deep.png_file(words(3), [png.chunk(b"tRNS", bytes(6))])):
        long = bytearray(file)
        long[20:24] = struct.pack(">I", 48)
        long[29:33] = struct.pack(">I", zlib.crc32(long[12:29]))
        with pytest.raises(InvalidInput, match="cut off: 50 %"):
            read_photo(bytes(long))


def interlaced(width: int, height: int, rows: int | None = None) -> bytes:
    """A grey PNG by Adam7, all 0, of which `rows` rows of the last pass are there."""
    passes = [
        (-(-(width - left) // across), -(-(height - top) // down)) for left, top, across, down in png.ADAM7
    ]
    data = b"".join(bytes(lines * (1 + columns)) for columns, lines in passes if columns > 0 and lines > 0)
    if rows is not None:
        data = data[: len(data) - (passes[-1][1] - rows) * (1 + width)]
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 1)
    chunks = (png.chunk(b"IHDR", header), png.chunk(b"IDAT", zlib.compress(data)), png.chunk(b"IEND", b""))
    return png.SIGNATURE + b"".join(chunks)


@given(width=st.integers(8, 40), height=st.integers(8, 40))
def test_interlaced_pictures_of_any_size_are_whole(width: int, height: int) -> None:
    assert read_photo(interlaced(width, height)).size == (width, height)
    with pytest.raises(InvalidInput, match="are missing"):
        read_photo(interlaced(width, height, rows=1))


def test_black_pictures_are_whole() -> None:
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA"):
        assert not read_photo(encoded(Image.new(mode, (33, 17)))).notes


def test_a_size_that_its_stream_cannot_fill_is_refused_before_decoding(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = taller(smooth(), 1_000_000)
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    with pytest.raises(InvalidInput, match="cut off: 100 % of its picture are missing"):
        read_photo(file)
