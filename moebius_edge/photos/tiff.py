"""Write TIFF files (TIFF 6.0): 8 or 16 bits, in zlib-compressed strips, with metadata as they were read."""

import struct
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from moebius_edge.inpaint.imaging import Bytes, Carried, Words
from moebius_edge.photos import exif
from moebius_edge.photos.exif import Directory, Entry

STRIP = 1 << 18  # bytes of a strip before compression
XMP, PROFILE = 700, 34675
BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED = 1, 2, 3, 4, 5, 7
_CODES = {SHORT: "H", LONG: "I", RATIONAL: "I"}


def tiff_file(pixels: Bytes | Words, profile: bytes | None, carried: Carried) -> bytes:
    """Return a TIFF file of `pixels` [H,W,C], C: grey, grey and alpha, RGB or RGBA.

    `profile`: ICC. What `carried` has for PNG alone is left out.
    """
    tree = exif.parsed(exif.within(carried.exif)) if carried.exif else None
    order, top = tree or ("<", Directory())
    height, width, channels = pixels.shape
    rows = max(STRIP // pixels[0].nbytes, 1)
    stored = pixels.astype(f"{order}u{pixels.itemsize}", copy=False)
    with ThreadPoolExecutor() as pool:  # zlib lets other threads run
        packed = pool.map(lambda at: zlib.compress(stored[at : at + rows].tobytes()), range(0, height, rows))
        strips = list(packed)

    def tag(number: int, kind: int, *values: int) -> None:
        data = struct.pack(f"{order}{len(values)}{_CODES[kind]}", *values)
        top.entries[number] = Entry(kind, len(values) // (2 if kind == RATIONAL else 1), data)

    tag(256, LONG, width)
    tag(257, LONG, height)
    tag(258, SHORT, *[8 * pixels.itemsize] * channels)
    tag(259, SHORT, 8)  # compression: zlib
    tag(262, SHORT, 2 if channels > 2 else 1)  # RGB, or grey whose 0 is black
    tag(277, SHORT, channels)
    tag(278, LONG, rows)  # of a strip
    tag(279, LONG, *map(len, strips))
    if channels in (2, 4):
        tag(338, SHORT, 2)  # the last channel is alpha that the others were not multiplied with
    if carried.dpi:
        for number, value in zip((282, 283), carried.dpi, strict=True):
            tag(number, RATIONAL, round(value * 100), 100)
        tag(296, SHORT, 2)  # per inch
    for number, kind, data in ((XMP, BYTE, carried.xmp), (PROFILE, UNDEFINED, profile)):
        if data:
            top.entries[number] = Entry(kind, len(data), data)
    # Where the strips begin is known once all else has its place.
    tag(273, LONG, *[0] * len(strips))
    start = len(exif.packed(order, top))
    tag(273, LONG, *np.cumsum([start, *map(len, strips[:-1])]).tolist())
    return b"".join((exif.packed(order, top), *strips))
