"""Pictures and files of pictures for the tests of this folder."""

import io
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from moebius_edge.photos import png

# The EXIF orientation -> what Pillow calls the way upright.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def noise(height: int = 24, width: int = 32, channels: int = 3, seed: int = 0) -> NDArray[np.uint8]:
    """Random bytes [H,W,C]."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def smooth(height: int = 96, width: int = 128) -> Image.Image:
    """A picture that JPEG keeps well."""
    rows, columns = np.mgrid[0:height, 0:width]
    return Image.fromarray(np.stack([rows * 2, columns, 255 - rows], axis=-1).clip(0, 255).astype(np.uint8))


def words(channels: int, height: int = 24, width: int = 32) -> NDArray[np.uint16]:
    """Random samples of 16 bits [H,W,C]."""
    return np.random.default_rng(channels).integers(0, 65536, (height, width, channels)).astype(np.uint16)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """The file that Pillow writes."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def with_chunk(kind: bytes, contents: bytes, image: Image.Image | None = None) -> bytes:
    """A PNG with one more chunk."""
    return png.with_chunks(encoded(image or smooth()), [png.chunk(kind, contents)])


def tiff(entries: dict[int, tuple[int, int, bytes]], order: str = "<", after: int = 0) -> bytes:
    """EXIF data of one directory: tag -> type, count, the four bytes of the value; then `after`, its next."""
    table = b"".join(struct.pack(order + "HHI", tag, *each[:2]) + each[2] for tag, each in entries.items())
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    return head + struct.pack(order + "H", len(entries)) + table + struct.pack(order + "I", after)


def segment(marker: int, body: bytes) -> bytes:
    """A segment of a JPEG."""
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(body) + 2) + body


def with_segments(file: bytes, *segments: bytes) -> bytes:
    """A JPEG with segments behind its start."""
    return file[:2] + b"".join(segments) + file[2:]


def cmyk_profile() -> bytes:
    """An ICC profile of a printer whose cyan is red (ICC.1, lut8)."""
    paper, red, black = bytes((255, 128, 128)), bytes((138, 208, 195)), bytes((0, 128, 128))  # L, a, b
    identity = bytes(range(256))
    matrix = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    lut = b"mft1" + bytes(4) + bytes((4, 3, 2, 0)) + matrix + identity * 4
    lut += paper + black * 7 + red * 8 + identity * 3
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    text = b"text" + bytes(4) + b"test\0"
    desc = b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\0" + bytes(78)
    tags, table, at = {b"A2B0": lut, b"wtpt": white, b"cprt": text, b"desc": desc}, b"", 128 + 4 + 4 * 12
    data = b""
    for name, value in tags.items():
        padded = value + bytes(-len(value) % 4)
        table += name + struct.pack(">II", at + len(data), len(padded))
        data += padded
    size = at + len(data)
    head = struct.pack(">I4sI4s4s4s", size, b"lcms", 0x02400000, b"prtr", b"CMYK", b"Lab ")
    head += (
        struct.pack(">6H", 2026, 1, 1, 0, 0, 0)
        + b"acsp"
        + bytes(28)
        + struct.pack(">3i", 63190, 65536, 54061)
    )
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + data
