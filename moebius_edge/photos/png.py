"""Take a PNG file apart, and put chunks into one (PNG, third edition).

The decoder gets the chunks that it needs and nothing else, so a damaged ancillary chunk costs nothing but
what it says.
"""

import itertools
import re
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

SIGNATURE = b"\x89PNG\r\n\x1a\n"
NEEDED = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
TEXTS = (b"tEXt", b"zTXt", b"iTXt")
LENGTHS = {b"cICP": 4, b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"mDCV": 24, b"cLLI": 8}  # of colour chunks
XMP = b"XML:com.adobe.xmp\0"
RAW_EXIF = b"Raw profile type "  # ImageMagick's way of old to keep EXIF, IPTC and XMP as text
MAX_INFLATED = 8 << 20  # bytes of a compressed profile or text
MAX_TEXTS = 1 << 20  # bytes of all texts
MAX_CHUNKS = 200_000  # of the largest picture, in IDATs of 8 KB, there are 50,000
MAX_LOST = 20  # wrong lengths that are got over; each costs a search and some checksums
_NAME = re.compile(rb"[A-Za-z]{4}")
_NEXT = re.compile(rb"PLTE|tRNS|IDAT")
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of a colour type
# First column and row of each pass of an interlaced picture, and the steps to the next (8.2).
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
HEAD = len(SIGNATURE) + 25  # where the chunks behind the header begin


@dataclass
class Png:
    """The parts of a PNG file."""

    picture: bytes = b""  # a PNG of the chunks in `NEEDED`
    chunks: dict[bytes, bytes] = field(default_factory=dict)  # the first of each other kind, but texts
    texts: list[tuple[bytes, bytes]] = field(default_factory=list)  # kind and contents
    xmp: bytes | None = None
    damaged: list[str] = field(default_factory=list)  # kinds of ancillary chunks that were left out
    bad_picture: str = ""  # the kind of a needed chunk with a wrong checksum
    key: bytes = b""  # of grey and RGB: the samples of the one colour that is transparent
    bits: int = 0
    colour: int = 0  # 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGB and alpha


@dataclass(frozen=True)
class _Chunk:
    kind: bytes
    start: int  # of its contents
    end: int
    right: bool  # its checksum


def take_apart(data: bytes) -> Png:
    """Return the parts of a PNG file; what of it is cut off is missing.

    Raises ValueError for more than `MAX_CHUNKS`.
    """
    png, size = Png(), 0
    kept: list[tuple[bytes, memoryview]] = []
    view = memoryview(data)
    for chunk in _walk(data):
        contents, kind = view[chunk.start : chunk.end], chunk.kind
        if kind in NEEDED:
            if not chunk.right and kind == b"tRNS":
                png.damaged.append("tRNS")
                continue
            if not chunk.right and not png.bad_picture:
                png.bad_picture = kind.decode()
            if kind == b"tRNS" and not png.key:
                png.key = bytes(contents)
            kept.append((kind, contents))
            continue
        if not chunk.right or len(contents) != LENGTHS.get(kind, len(contents)):
            png.damaged.append(kind.decode())
        elif kind in TEXTS:
            size += len(contents)
            if size <= MAX_TEXTS:
                _note_text(png, kind, bytes(contents))
        elif kind[:1].islower() and len(contents) <= MAX_INFLATED:
            png.chunks.setdefault(kind, bytes(contents))
    png.picture = _joined(kept)
    png.bits, png.colour = (*data[24:26], 0, 0)[:2]
    return png


def pixel_data(png: Png) -> memoryview:
    """Return the zlib stream of the pixels, as far as it is there."""
    view, at = memoryview(png.picture), len(SIGNATURE)
    while at + 8 <= len(view):
        end = at + 8 + int.from_bytes(view[at : at + 4], "big")
        if bytes(view[at + 4 : at + 8]) == b"IDAT":
            return view[at + 8 : end]
        at = end + 4
    return view[:0]


def samples_size(png: Png) -> int:
    """Return how many bytes the stream of a whole picture holds: rows behind their filter byte."""
    width, height = struct.unpack(">II", png.picture[16:24])
    bits = png.bits * CHANNELS[png.colour]
    passes = ADAM7 if png.picture[28] else ((0, 0, 1, 1),)
    total = 0
    for left, top, across, down in passes:
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        total += rows * (1 + -(-columns * bits // 8)) if columns > 0 and rows > 0 else 0
    return total


def profile(png: Png) -> bytes | None:
    """Return the ICC profile of a PNG's iCCP chunk; None for none, or one that cannot be read."""
    _, _, packed = png.chunks.get(b"iCCP", b"").partition(b"\0")
    return inflated(packed[1:])


def inflated(data: bytes) -> bytes | None:
    """Return what zlib data hold, if that is whole and at most `MAX_INFLATED` bytes."""
    unpacking = zlib.decompressobj()
    try:
        found = unpacking.decompress(data, MAX_INFLATED)
    except zlib.error:
        return None
    return found if unpacking.eof else None


def dots_per_inch(png: Png) -> tuple[float, float] | None:
    """Return the pixels per inch of the pHYs chunk; None where it says none."""
    contents = png.chunks.get(b"pHYs", b"")
    if len(contents) != 9 or contents[8] != 1:
        return None
    across, down = struct.unpack(">II", contents[:8])
    return across * 0.0254, down * 0.0254


def frames(png: Png) -> int:
    """Return how many pictures an animation shows; 1 for a still picture."""
    contents = png.chunks.get(b"acTL", b"")
    return int.from_bytes(contents[:4], "big") if len(contents) == 8 else 1


def chunk(kind: bytes, contents: bytes) -> bytes:
    """Return a chunk as it stands in a file."""
    return struct.pack(">I", len(contents)) + kind + contents + _crc(kind, contents)


def with_chunks(file: bytes, chunks: Iterable[bytes]) -> bytes:
    """Return the PNG `file` with chunks, as `chunk` gives them, behind its header."""
    return b"".join((file[:HEAD], *chunks, file[HEAD:]))


def written(
    profile: bytes | None, dpi: tuple[float, float] | None, exif: bytes | None, xmp: bytes | None
) -> Iterator[tuple[bytes, bytes]]:
    """Yield kind and contents of the chunks for an ICC profile, pixels per inch, EXIF data and XMP."""
    if profile is not None:
        yield b"iCCP", b"ICC profile\0\0" + zlib.compress(profile)
    if dpi is not None:
        yield b"pHYs", struct.pack(">IIB", *(round(value / 0.0254) for value in dpi), 1)
    if exif is not None:
        yield b"eXIf", exif.removeprefix(b"Exif\0\0")
    if xmp is not None:
        yield b"iTXt", XMP + bytes(4) + xmp


def _joined(chunks: list[tuple[bytes, memoryview]]) -> bytes:
    """Return a PNG of these chunks, with one IDAT: of many, each takes the decoder time."""
    parts: list[bytes | memoryview] = [SIGNATURE]
    for kind, group in itertools.groupby(chunks, key=lambda each: each[0]):
        contents = [each for _, each in group]
        if kind != b"IDAT":
            contents = contents[:1]
        check = zlib.crc32(kind)
        for each in contents:
            check = zlib.crc32(each, check)
        parts += [struct.pack(">I", sum(map(len, contents))), kind, *contents, struct.pack(">I", check)]
    return b"".join(parts)


def _crc(kind: bytes, contents: bytes | memoryview) -> bytes:
    return struct.pack(">I", zlib.crc32(contents, zlib.crc32(kind)))


def _walk(data: bytes) -> Iterator[_Chunk]:
    """Yield the chunks up to IEND.

    Where a wrong length leads nowhere, the walk goes on at the next chunk that the decoder needs.
    """
    at: int | None = len(SIGNATURE)
    lost = 0
    for count in itertools.count():
        if at is None or at + 8 > len(data):
            return
        if count == MAX_CHUNKS:
            raise ValueError(f"it has more than {MAX_CHUNKS:,} chunks")
        if not _NAME.fullmatch(data, at + 4, at + 8):
            lost += 1
            at = _resumed(data, at) if lost < MAX_LOST else None
            continue
        found = _chunk_at(data, at)
        yield found
        if found.kind == b"IEND":
            return
        follows = _NAME.fullmatch(data, found.end + 8, found.end + 12)
        if found.right or found.kind in NEEDED or follows:
            at = found.end + 4
            continue
        lost += 1
        at = _resumed(data, at + 8) if lost < MAX_LOST else None


def _chunk_at(data: bytes, at: int) -> _Chunk:
    kind = data[at + 4 : at + 8]
    start, end = at + 8, at + 8 + int.from_bytes(data[at : at + 4], "big")
    stored = data[end : end + 4]
    whole = len(stored) == 4
    right = whole and stored == _crc(kind, memoryview(data)[start:end])
    # A needed chunk that the file's end cuts off is taken as far as it goes: its pixels may all be there.
    return _Chunk(kind, start, min(end, len(data)), right or (not whole and kind in NEEDED))


def _resumed(data: bytes, after: int) -> int | None:
    """Return where the next sound chunk that the decoder needs begins."""
    for match in itertools.islice(_NEXT.finditer(data, after), MAX_LOST):
        if _chunk_at(data, match.start() - 4).right:
            return match.start() - 4
    return None


def _note_text(png: Png, kind: bytes, contents: bytes) -> None:
    if kind != b"iTXt" or not contents.startswith(XMP):
        if not contents.startswith(RAW_EXIF):
            png.texts.append((kind, contents))
        return
    packed, method = contents[len(XMP) : len(XMP) + 2].ljust(2, b"\0")
    # Behind the two: a language and the translated keyword, each ended by 0.
    text = contents[len(XMP) + 2 :].split(b"\0", 2)[-1]
    found = inflated(text) if packed == 1 and method == 0 else text
    if png.xmp is None and found is not None:
        png.xmp = found
