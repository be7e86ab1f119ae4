"""Say what the loop sees of a photo: arrays, and what a picture like the photo needs.

Numpy and Pillow only. Files are read and written by `moebius_edge.photos`.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Bytes = NDArray[np.uint8]
Bools = NDArray[np.bool_]
Words = NDArray[np.uint16]


@dataclass(frozen=True)
class Carried:
    """What a photo's file holds besides pixels and an ICC profile, ready for an upright result."""

    exif: bytes | None = None  # with the prefix that JPEG gives it; without thumbnail, its orientation 1
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None  # pixels per inch, across and down
    chunks: tuple[tuple[bytes, bytes], ...] = ()  # kinds and contents of a PNG's colour chunks
    texts: tuple[tuple[bytes, bytes], ...] = ()  # kinds and contents of a PNG's texts


@dataclass(frozen=True)
class Photo:
    """A photo as the loop sees it, and what is needed to give the result the mode of the photo."""

    rgb: Bytes  # [H,W,3], upright
    alpha: Bytes | None = None  # [H,W], returned untouched
    grey: bool = False  # the result is grey too
    profile: bytes | None = None  # ICC colour profile, returned untouched
    deep: Words | None = None  # [H,W,1 to 4], the file's own samples where they have 16 bits
    carried: Carried = field(default_factory=Carried)
    notes: tuple[str, ...] = ()  # what a user should know of how it was read, a sentence each

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.rgb.shape[1], self.rgb.shape[0]

    def with_pixels(self, rgb: Bytes) -> Image.Image:
        """Return a picture of mode L, LA, RGB or RGBA, like the photo, with the pixels `rgb` [H,W,3]."""
        image = Image.fromarray(rgb)
        if self.grey:  # of equal channels, ITU-R 601 luma is that same value: untouched pixels stay untouched
            image = image.convert("L")
        if self.alpha is not None:
            image.putalpha(Image.fromarray(self.alpha))
        if self.profile is not None:
            image.info["icc_profile"] = self.profile
        return image


def to_tensor(rgb: Bytes) -> NDArray[np.float32]:
    """Turn bytes [H,W,3] into float32 [1,3,H,W] in [-1,1]."""
    planes = rgb.astype(np.float32).transpose(2, 0, 1)[None]
    return np.ascontiguousarray(planes / np.float32(127.5) - np.float32(1))
