"""Read and rebuild EXIF data: a tree of directories of tagged values (TIFF 6.0, section 2; CIPA DC-008).

Values are carried as the bytes that they are: nothing is interpreted but what is needed, so a value that
makes no sense does no harm. Sizes and counts are limited, and no directory is visited twice.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass, field

PREFIX = b"Exif\0\0"  # before the data in JPEG
MAX_BYTES = 1 << 20  # of all values together; a JPEG segment holds 64 KB
MAX_DIRECTORIES = 8  # there are four
MAX_ENTRIES = 512  # of one directory; cameras write some dozens
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}  # bytes of a type

ORIENTATION, EXIF, GPS, INTEROPERABILITY, MAKER_NOTE = 0x0112, 0x8769, 0x8825, 0xA005, 0x927C
WIDTH, HEIGHT = 0xA002, 0xA003  # of the picture, in the directory EXIF
CHILDREN = (EXIF, GPS, INTEROPERABILITY)
JPEG_START = b"\xff\xd8\xff"
# What tells about the photo in the first directory of a TIFF file; the rest says how its pixels are stored.
DESCRIPTIVE = (270, 271, 272, 305, 306, 315, 316, 33432, *CHILDREN)
# Small pictures of the photo, or copies of what is carried in other ways: XMP, IPTC, Photoshop's, a profile.
DROPPED = (0x0111, 0x0117, 0x0144, 0x0145, 0x014A, 0x0201, 0x0202, 700, 33723, 34377, 34675)

At = Callable[[int, int], bytes]  # (offset, size) -> bytes of the data, fewer at its end


@dataclass(frozen=True)
class Entry:
    """One tagged value."""

    kind: int  # a key of SIZES
    count: int
    data: bytes


@dataclass
class Directory:
    """Values and directories by tag."""

    entries: dict[int, Entry] = field(default_factory=dict)
    children: dict[int, "Directory"] = field(default_factory=dict)


def orientation(data: bytes) -> int:
    """Return the orientation of EXIF data, 1 to 8, by its one tag, whatever the rest holds; 1 without one."""
    data = data.removeprefix(PREFIX)
    order = _order(data[:4])
    if order is None or len(data) < 10:
        return 1
    (start,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack(order + "H", data[start : start + 2].ljust(2, b"\0"))
    for at in range(start + 2, start + 2 + 12 * min(count, MAX_ENTRIES), 12):
        entry = data[at : at + 12]
        if len(entry) == 12:
            tag, kind, number, value = struct.unpack(order + "HHIH2x", entry)
            if tag == ORIENTATION:
                return value if kind == 3 and number == 1 and 1 <= value <= 8 else 1
    return 1


def rebuilt(
    at: At, size: tuple[int, int], *, location: bool = True, only: tuple[int, ...] | None = None
) -> bytes | None:
    """Build EXIF data anew, with `PREFIX`, for an upright picture of `size` (width, height).

    `at` reads the old data, which start with the TIFF header. Left out: thumbnails, what is of no type, what
    lies outside the data, a maker's note that holds a picture; without `location` also the place and the
    maker's note, in which it may stand. `only`: the tags of the first directory to keep. None where there is
    nothing to keep, or the data cannot be read.
    """
    tree = parsed(at)
    if tree is None:
        return None
    order, top = tree
    _clean(top, order, size, location)
    if only is not None:
        top.entries = {tag: entry for tag, entry in top.entries.items() if tag in only}
    if not top.entries and not top.children:
        return None
    return PREFIX + packed(order, top)


def parsed(at: At) -> tuple[str, Directory] | None:
    """Return the byte order ("<" or ">") and the first directory of the data that `at` reads.

    None where they do not begin as such data do.
    """
    header = at(0, 8)
    order = _order(header[:4])
    if order is None or len(header) < 8:
        return None
    return order, _Reader(at, order).directory(struct.unpack(order + "I", header[4:])[0])


def packed(order: str, top: Directory) -> bytes:
    """Return data with this first directory: a TIFF file without a picture."""
    magic = b"II*\0" if order == "<" else b"MM\0*"
    return magic + struct.pack(order + "I", 8) + _packed(top, order, 8)


def within(data: bytes) -> At:
    """Return what reads in EXIF data, with or without `PREFIX`."""
    data = data.removeprefix(PREFIX)
    return lambda offset, size: data[offset : offset + size]


def _order(magic: bytes) -> str | None:
    return {b"II*\0": "<", b"MM\0*": ">"}.get(bytes(magic))


class _Reader:
    """What reads a tree within the limits."""

    def __init__(self, at: At, order: str) -> None:
        self.at, self.order = at, order
        self.left, self.seen = MAX_BYTES, set[int]()

    def directory(self, start: int) -> Directory:
        found = Directory()
        if start in self.seen or start < 8 or len(self.seen) == MAX_DIRECTORIES:
            return found
        self.seen.add(start)
        head = self.at(start, 2)
        if len(head) < 2:
            return found
        count = min(struct.unpack(self.order + "H", head)[0], MAX_ENTRIES)
        table = self.at(start + 2, 12 * count)
        for tag, kind, number, value in struct.iter_unpack(
            self.order + "HHI4s", table[: len(table) // 12 * 12]
        ):
            if tag in CHILDREN:
                child = self.directory(struct.unpack(self.order + "I", value)[0])
                if child.entries:
                    found.children[tag] = child
            elif tag not in DROPPED and (data := self._value(kind, number, value)) is not None:
                found.entries[tag] = Entry(kind, number, data)
        return found

    def _value(self, kind: int, count: int, value: bytes) -> bytes | None:
        size = SIZES.get(kind, 0) * count
        if not 0 < size <= self.left:
            return None
        data = value[:size] if size <= 4 else self.at(struct.unpack(self.order + "I", value)[0], size)
        self.left -= len(data)
        return data if len(data) == size else None


def _clean(top: Directory, order: str, size: tuple[int, int], location: bool) -> None:
    if ORIENTATION in top.entries:
        top.entries[ORIENTATION] = Entry(3, 1, struct.pack(order + "H", 1))
    if not location:
        top.children.pop(GPS, None)
    about = top.children.get(EXIF)
    if about is None:
        return
    for tag, side in zip((WIDTH, HEIGHT), size, strict=True):
        if tag in about.entries:
            about.entries[tag] = Entry(4, 1, struct.pack(order + "I", side))
    note = about.entries.get(MAKER_NOTE)
    if note is not None and (not location or JPEG_START in note.data):
        del about.entries[MAKER_NOTE]


def _packed(directory: Directory, order: str, start: int) -> bytes:
    """Return a directory that will lie at offset `start`, with its values and children behind it."""
    tags = sorted({*directory.entries, *directory.children})
    head, tail = [struct.pack(order + "H", len(tags))], bytearray()
    behind = start + 2 + 12 * len(tags) + 4
    for tag in tags:
        offset = struct.pack(order + "I", behind + len(tail))
        if (child := directory.children.get(tag)) is not None:
            tail += _packed(child, order, behind + len(tail))
            entry = Entry(4, 1, offset)
        else:
            entry = directory.entries[tag]
            tail += entry.data + bytes(len(entry.data) % 2) if len(entry.data) > 4 else b""
        value = entry.data.ljust(4, b"\0") if len(entry.data) <= 4 else offset
        head.append(struct.pack(order + "HHI4s", tag, entry.kind, entry.count, value))
    return b"".join(head) + bytes(4) + bytes(tail)
