"""Take pixels out of Pillow images strip by strip.

Pillow keeps 4 bytes for a pixel of 3, and copies an image to convert it: of a photo of 100 megapixels that
would be several times 400 MB.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

STRIP = 1 << 22  # pixels that are converted at a time


def rgb_of(image: Image.Image) -> NDArray[np.uint8]:
    """Return the pixels of an image as RGB [H,W,3]."""
    result = np.empty((image.height, image.width, 3), np.uint8)
    for rows, strip in _strips(image):
        result[rows] = np.asarray(strip.convert("RGB"))
    return result


def brighter(image: Image.Image, level: float) -> NDArray[np.bool_]:
    """Tell which pixels have a luma (ITU-R 601) above `level`, [H,W]."""
    result = np.empty((image.height, image.width), np.bool_)
    for rows, strip in _strips(image):
        result[rows] = np.asarray(strip.convert("RGB").convert("L")) > level
    return result


def _strips(image: Image.Image) -> Iterator[tuple[slice, Image.Image]]:
    at_once = max(STRIP // image.width, 1)
    for top in range(0, image.height, at_once):
        bottom = min(top + at_once, image.height)
        yield slice(top, bottom), image.crop((0, top, image.width, bottom))
