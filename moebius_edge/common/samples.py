"""Find the CC0 sample photos in the package: for the demo and for the self-test of every bundle."""

from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SAMPLES = ("wren", "osprey")  # assets/samples/NAME.jpg with NAME-mask.png, white = remove
CAPSULE_SAMPLE = "wren"


def sample(name: str) -> tuple[Path, Path]:
    """Return the paths of a sample's photo and of its mask, which is white where something is to be removed.

    `name` is one of `SAMPLES`.
    """
    folder = Path(str(resources.files("moebius_edge") / "assets" / "samples"))
    return folder / f"{name}.jpg", folder / f"{name}-mask.png"


def capsule_photo(resolution: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return the photo [R,R,3] and the mask [R,R] (True = remove) of the self-test, R = `resolution`.

    They are the largest square of the sample that fits around the centre of its object, resized: the photo by
    Lanczos, the mask by nearest.
    """
    photo_path, mask_path = sample(CAPSULE_SAMPLE)
    with Image.open(photo_path) as photo, Image.open(mask_path) as mask:
        hole = np.asarray(mask.convert("L")) > 127
        side = min(photo.size)
        rows, columns = np.nonzero(hole)
        left = _centred(int(columns.min()), int(columns.max()) + 1, side, photo.width)
        top = _centred(int(rows.min()), int(rows.max()) + 1, side, photo.height)
        box = (left, top, left + side, top + side)
        size = (resolution, resolution)
        pixels = photo.convert("RGB").crop(box).resize(size, Image.Resampling.LANCZOS)
        small = Image.fromarray(hole).crop(box).resize(size, Image.Resampling.NEAREST)
    return np.asarray(pixels).copy(), np.asarray(small).copy()


def _centred(low: int, high: int, side: int, length: int) -> int:
    """Return the start of a window of `side` that is centred on [low, high) and inside [0, length)."""
    return min(max((low + high - side) // 2, 0), length - side)
