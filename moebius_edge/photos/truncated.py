"""Tell how much of a picture is missing; decoders of JPEG and PNG fill what is missing without a word.

Of a JPEG: bytes that mean nothing are put where the file was cut. If every pixel was there already the
decoder skips them; if not, it makes other pixels of them than it does of nothing. The first row that differs
is where the file ends. Of a PNG: its zlib stream is counted. Both are done only where the end looks like it.
"""

import io
import zlib

import numpy as np
from PIL import Image

from moebius_edge.inpaint.imaging import Bytes
from moebius_edge.photos import jpeg, png

# No 0xFF, which begins markers; but restart markers: a decoder that waits for one skips all before it.
FILLER = b"".join(bytes(range(1, 251)) + bytes((0xFF, 0xD0 + i)) for i in range(8)) * 2
PIECE = 1 << 16  # bytes of a zlib stream that are unpacked at once, into 67 MB at most
DEFLATE_RATIO = 1032  # of zlib's best case
BLOCK = 8  # pixels of a side: the decoder repeats the last colour, so its last block is plain


def of_jpeg(parts: jpeg.Jpeg, image: Image.Image) -> float:
    """Return the share of a JPEG's picture that is missing: 0 of a whole one.

    `image` is what was decoded of it. A file with an end marker is looked at only when its last block is
    plain.
    """
    if parts.ended and parts.progressive:
        return 0.0  # the scans that are there give a picture
    if parts.ended:
        corner = np.asarray(image.crop((image.width - BLOCK, image.height - BLOCK, *image.size)))
        if (corner != corner[0, 0]).any():
            return 0.0
    elif parts.unfinished:
        return min(parts.unfinished, 0.99)  # something of it is there
    # What is missing of a last progressive scan is only detail within the blocks.
    scale = 1 if parts.progressive else BLOCK
    whole, other = (_decoded(parts.picture + end, scale) for end in (jpeg.END, FILLER + jpeg.END))
    rows = np.flatnonzero((whole != other).reshape(len(whole), -1).any(axis=1))
    return 1 - int(rows[0]) / len(whole) if len(rows) else 0.0


def of_png(parts: png.Png, rows: Bytes | None) -> float:
    """Return the share of a PNG's samples that is missing: 0 of a whole one.

    `rows` [2,W] or [2,W,C] are the last that were decoded: zeros where nothing was. In an interlaced file
    the last row, or the one above it, comes last. None: before decoding, which is spared a picture that is
    much larger than its stream can be.
    """
    data, expected = png.pixel_data(parts), png.samples_size(parts)
    if rows is None and expected <= DEFLATE_RATIO * (len(data) + 1):
        return 0.0
    if rows is not None and not parts.key and rows.any(axis=tuple(range(1, rows.ndim))).all():
        return 0.0
    found = _inflated(data)
    return 1 - found / expected if found < expected else 0.0


def _inflated(data: memoryview) -> int:
    """Return how many bytes a zlib stream holds."""
    unpacking, found = zlib.decompressobj(), 0
    for at in range(0, len(data), PIECE):
        try:
            found += len(unpacking.decompress(data[at : at + PIECE]))
        except zlib.error:
            break
    return found


def _decoded(data: bytes, scale: int) -> Bytes:
    """Decode a JPEG, at an eighth of its size if `scale` is 8: a pixel for each block, which is fast."""
    image = Image.open(io.BytesIO(data), formats=["JPEG"])
    if scale > 1:
        image.draft(image.mode, (image.width // scale, image.height // scale))
    return np.asarray(image)
