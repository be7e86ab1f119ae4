"""Read what Pillow does not tell about AVIF and HEIC files, which are trees of boxes (ISO/IEC 14496-12).

A box is its length in four bytes, its name in four, its contents. Whatever does not look like that is left to
the decoder, which knows better words for it.
"""

import re
from typing import BinaryIO

HEIC = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"}  # brands of pictures coded with HEVC
MAX_BOXES = 64  # before the one that is looked for: real files have it second or third
MAX_BYTES = 1 << 20  # of one box's contents: the description of a picture has less than a kilobyte
# An item's entry of version 2 or 3: flags, number (2 or 4 bytes), protection, type (8.11.6).
_EXIF_ITEM = re.compile(rb"(infe[\x02\x03].{3}(?:.{4}|.{6}))Exif", re.DOTALL)


def is_heic(file: BinaryIO) -> bool:
    """Tell whether the file says that it is a HEIC photo.

    The file is read from its start; its position afterwards is undefined.
    """
    brands = _contents(file, b"ftyp")
    return any(brands[i : i + 4] in HEIC for i in range(0, len(brands), 4))


def av1_bits(file: BinaryIO) -> int:
    """Return the bits per channel of an AVIF file's deepest picture: 8, 10 or 12; 8 also for any other file.

    Pillow decodes all of them to 8 bits without a word.
    """
    description, name, bits = _contents(file, b"meta"), b"av1C", 8
    at = description.find(name)
    while at >= 0:  # AV1CodecConfigurationBox: of its third byte, bit 6 is high_bitdepth, bit 5 twelve_bit
        flags = description[at + len(name) + 2 : at + len(name) + 3]
        if flags and flags[0] & 0x40:
            bits = max(bits, 12 if flags[0] & 0x20 else 10)
        at = description.find(name, at + 1)
    return bits


def code_points(file: BinaryIO) -> tuple[int, int]:
    """Return primaries and transfer function (ITU-T H.273) that the file gives its picture; 2, 2 for none."""
    description = _contents(file, b"meta")
    at = description.find(b"colrnclx")
    found = description[at + 8 : at + 12] if at >= 0 else b""
    return (found[1], found[3]) if len(found) == 4 and not found[0] | found[2] else (2, 2)


def without_exif(data: bytes) -> bytes:
    """Return an AVIF or HEIC file whose EXIF data no reader finds."""
    return _EXIF_ITEM.sub(rb"\1skip", data[:MAX_BYTES]) + data[MAX_BYTES:]


def _contents(file: BinaryIO, wanted: bytes) -> bytes:
    """Return the contents of the first box of that name at the top of the tree; empty where there is none."""
    position, end = 0, file.seek(0, 2)
    for _ in range(MAX_BOXES):
        if position >= end:  # a box may claim any length
            break
        file.seek(position)
        head = file.read(16)
        size, name, start = int.from_bytes(head[:4], "big"), head[4:8], 8
        if size == 1:  # the length is in the eight bytes after the name
            size, start = int.from_bytes(head[8:16], "big"), 16
        if name == wanted:
            file.seek(position + start)
            return file.read(min(max(size - start, 0), MAX_BYTES))
        if len(head) < 16 or size < start:  # the end, a last box without a length, or no boxes at all
            break
        position += size
    return b""
