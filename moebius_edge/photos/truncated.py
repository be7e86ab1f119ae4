"""Tell how much of a JPEG's picture is missing; its decoder fills what is missing without a word.

Bytes that mean nothing are put where the file was cut. If every pixel was there already the decoder skips
them; if not, it makes other pixels of them than it does of nothing. The first row that differs is where the
file ends.
"""

import io

import numpy as np
from PIL import Image

from moebius_edge.inpaint.imaging import Bytes
from moebius_edge.photos import jpeg

FILLER = bytes(range(1, 251)) * 8  # no 0xFF: it begins markers
BLOCK = 8  # pixels of a side: the decoder repeats the last colour, so its last block is plain


def share(parts: jpeg.Jpeg, image: Image.Image) -> float:
    """Return the share of a JPEG's picture that is missing: 0 of a whole one.

    `image` is what was decoded of it. A file with an end marker is looked at only when its last block is
    plain.
    """
    if parts.ended:
        corner = np.asarray(image.crop((image.width - BLOCK, image.height - BLOCK, *image.size)))
        if (corner != corner[0, 0]).any():
            return 0.0
    elif parts.unfinished:
        return parts.unfinished
    whole, other = (_small(parts.picture + end) for end in (jpeg.END, FILLER + jpeg.END))
    rows = np.flatnonzero((whole != other).reshape(len(whole), -1).any(axis=1))
    return 1 - int(rows[0]) / len(whole) if len(rows) else 0.0


def _small(data: bytes) -> Bytes:
    """Decode a JPEG at an eighth of its size, a pixel for each block, which is fast."""
    image = Image.open(io.BytesIO(data), formats=["JPEG"])
    image.draft(image.mode, (image.width // BLOCK, image.height // BLOCK))
    return np.asarray(image)
