"""A small attack by damaged pictures; `python -m tests.attacks.pictures` runs a large one."""

import contextlib
import io
import struct
import time
from collections import Counter

import pytest
from PIL import Image

from moebius_edge.common.errors import InvalidInput
from moebius_edge.photos import png
from moebius_edge.photos.options import ReadOptions
from moebius_edge.photos.reading import read_mask, read_photo
from tests.attacks.pictures import attack, mutated, odd, seeds


def test_mutated_pictures_are_read_or_refused() -> None:
    records = attack(mutated(600, seed=1))
    assert len(records) >= 22
    assert not [line for record in records.values() for line in record.wrong]
    outcomes = sum((record.outcomes for record in records.values()), Counter[str]())
    assert outcomes["opened"] > 100 and outcomes["refused"] > 100


def test_odd_pictures_are_read_or_refused() -> None:
    files = list(odd())
    assert len(files) == 500
    records = attack(iter(files))
    assert not [line for record in records.values() for line in record.wrong]
    for name, record in records.items():
        if name.startswith("png, "):  # only an ancillary chunk is odd, so the picture opens
            assert "raised" not in record.outcomes and record.outcomes["refused"] == (
                40 if "cut" in name else 0
            )


def test_the_sound_files_are_photos_but_for_those_of_several_frames() -> None:
    for name, data in seeds().items():
        if name in ("png animated", "gif animated", "tiff pages"):
            with pytest.raises(InvalidInput, match="--first-frame"):
                read_photo(data)
            assert read_photo(data, ReadOptions(first_frame=True)).size == (64, 48)
        elif name != "jpeg cmyk":  # its profile is not one of inks
            read_photo(data)


@pytest.mark.parametrize("size", [2**63 - 1, 2**64 - 1, 2**62, 17, 16, 0])
@pytest.mark.parametrize("name", [b"free", b"ftyp", b"meta", b"\0\0\0\0"])
def test_a_box_of_any_length_is_one_sentence(size: int, name: bytes) -> None:
    data = struct.pack(">I4sQ", 1, name, size) + bytes(32)
    for read in (read_photo, lambda source: read_mask(source, (8, 8))):
        with pytest.raises(InvalidInput, match="known format"):
            read(data)


def tiff_of_pages(count: int) -> bytes:
    """A TIFF of `count` pages that share their pixels."""
    entries = [(256, 8), (257, 8), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, 8), (279, 64)]
    table = struct.pack("<H", len(entries))
    table += b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    size = len(table) + 4
    pages = (table + struct.pack("<I", 72 + size * (page + 1)) for page in range(count - 1))
    return b"II*\0" + struct.pack("<I", 72) + bytes(64) + b"".join(pages) + table + bytes(4)


def test_many_pages_are_not_counted() -> None:
    data = tiff_of_pages(100_000)
    start = time.process_time()
    with pytest.raises(InvalidInput, match="several pages"):
        read_photo(data)
    assert read_photo(data, ReadOptions(first_frame=True)).size == (8, 8)
    assert time.process_time() - start < 5


def test_a_damaged_fax_is_refused_and_its_library_silent(capfd: pytest.CaptureFixture[str]) -> None:
    image = Image.effect_noise((200, 100), 90).convert("1")
    buffer = io.BytesIO()
    image.save(buffer, "TIFF", compression="group4")
    sound = buffer.getvalue()
    assert read_photo(sound).size == (200, 100)
    refused = 0
    for at in range(200, len(sound) - 300, 97):
        data = sound[:at] + b"\x55" * 60 + sound[at + 60 :]
        try:
            read_photo(data)
        except InvalidInput as error:
            refused += 1
            assert "damaged or cut off" in str(error)
    assert refused > 5 and capfd.readouterr().err == ""


def test_a_tiff_whose_strips_do_not_cover_it_is_refused() -> None:
    for height, says in ((8, None), (9, "without all of its pixels"), (2**20, "without all")):
        data = bytearray(tiff_of_pages(1))
        at = data.index(struct.pack("<HHII", 257, 4, 1, 8)) + 8
        data[at : at + 4] = struct.pack("<I", height)
        if says is None:
            assert read_photo(bytes(data)).size == (8, 8)
            continue
        with pytest.raises(InvalidInput, match=says):
            read_photo(bytes(data))


def quick(data: bytes) -> None:
    """Read a photo, or have it refused, in little time: what was slow took minutes."""
    start = time.process_time()
    with contextlib.suppress(InvalidInput):
        read_photo(data)
    assert time.process_time() - start < 5


SOUND = seeds()


def exif_tree(count: int) -> bytes:
    """EXIF data of directories that each lead to all others."""
    size = 2 + 12 * 400 + 4
    entries = (struct.pack("<HHII", 0x8769, 4, 1, 8 + size * (entry % count)) for entry in range(400))
    table = struct.pack("<H", 400) + b"".join(entries) + bytes(4)
    return b"II*\0\x08\0\0\0" + table * count


def test_work_does_not_grow_with_the_square_of_a_file() -> None:
    sound = SOUND["png grey"]
    thumbnails = b"<xmp:Thumbnails>" * 60_000
    quick(png.with_chunks(sound, [png.chunk(b"iTXt", png.XMP + bytes(4) + thumbnails)]))
    quick(png.with_chunks(sound, [png.chunk(b"eXIf", exif_tree(200))]))
    nested = b"".join(
        struct.pack("<HHHIII", 1, 0x8769, 4, 1, 8 + 18 * (depth + 1), 0) for depth in range(5000)
    )
    quick(png.with_chunks(sound, [png.chunk(b"eXIf", b"II*\0\x08\0\0\0" + nested)]))
    bad = struct.pack(">I", 1 << 20)
    quick(sound[:33] + (bad + b"IDAT") * 500_000 + bytes(2 << 20))
    quick(sound[:33] + (bad + b"teXt" + sound[33:41]) * 100_000 + bytes(2 << 20))
    jpeg = SOUND["jpeg progressive"]
    scan = b"\xff\xda" + struct.pack(">HB", 2 + 1 + 2 * 255 + 3, 255) + bytes(range(255)) * 2 + b"\0\x3f\0"
    quick(jpeg[:-2] + scan * 20_000)


def test_thousands_of_damaged_chunks_are_one_note() -> None:
    kinds = (f"a{i:03d}".translate(str.maketrans("0123456789", "abcdefghij")).encode() for i in range(900))
    broken = [struct.pack(">I", 1) + kind + b"x" + bytes(4) for kind in kinds]
    notes = read_photo(png.with_chunks(SOUND["png grey"], broken)).notes
    assert len(notes) == 1 and len(notes[0]) < 120 and notes[0].endswith("and others")
