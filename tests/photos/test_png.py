"""PNG files with chunks of every kind of damage."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from moebius_edge.common.errors import InvalidInput
from moebius_edge.photos import png
from moebius_edge.photos.reading import read_photo
from tests.photos.files import encoded, smooth, with_chunk

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
        assert any(f"the {kind.decode()} chunk of the photo is damaged" in note for note in photo.notes)


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
    assert photo.alpha is None and "the tRNS chunk" in photo.notes[0]
