"""Paste a fill into the photo, strip by strip: memory follows a strip, as in `squares`."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from moebius_edge.inpaint.crops import Crop
from moebius_edge.inpaint.imaging import Bools, Bytes
from moebius_edge.inpaint.morphology import bounding_box, grow, grown_box
from moebius_edge.inpaint.squares import STRIP

Floats = NDArray[np.float32]


def feathered(mask: Bools, feather: int) -> Floats:
    """Return the opacity of the fill [H,W], float32 in [0,1].

    Exactly 1 in the mask, exactly 0 farther than `feather` pixels from it.
    """
    return np.concatenate(list(_opacities(mask, feather)), axis=1)


def paste(crop: Crop, rgb: Bytes, mask: Bools, fill: Bytes, feather: int, kept: Bools | None = None) -> None:
    """Paste the model's picture `fill` [R,R,3] into the photo `rgb` [H,W,3], in place.

    Where `mask` [H,W] is True the photo becomes the fill, which fades out over `feather` pixels around it;
    beyond them its bytes stay, and where `kept` [H,W] is True.
    """
    height, width = mask.shape
    inside = crop.inside(width, height)
    left, top, right, bottom = grown_box(bounding_box(mask), feather, inside)
    # At the square's width, and still of the model's height.
    wide = np.asarray(Image.fromarray(fill).resize((crop.side, len(fill)), Image.Resampling.LANCZOS))
    rows = slice(top - crop.top, bottom - crop.top)
    for opacity in _opacities(mask[top:bottom, left:right], feather):
        columns = slice(left, left + opacity.shape[1])
        if kept is not None:
            opacity[kept[top:bottom, columns]] = 0
        strip = Image.fromarray(wide[:, columns.start - crop.left : columns.stop - crop.left])
        strip = strip.resize((strip.width, crop.side), Image.Resampling.LANCZOS)
        new = np.asarray(strip)[rows].astype(np.float32)
        new *= opacity[..., None]
        part = rgb[top:bottom, columns]
        # Where the opacity is 0 this is exactly `part`: bytes are whole numbers in float32.
        part[:] = np.rint(new + (1 - opacity[..., None]) * part)
        left = columns.stop


def _opacities(mask: Bools, feather: int) -> Iterator[Floats]:
    """Yield the opacity of the fill [H,w], from left to right, in strips of at most `STRIP` pixels.

    It is the mask, grown by the half of `feather`, in a mean over a window of the other half.
    """
    blur = feather // 2
    wide = grow(mask, feather - blur)
    height, width = wide.shape
    area = np.float64((2 * blur + 1) ** 2)
    at_once = max(STRIP // height, 1)
    # Counts of the window's row around a pixel, from one column to the next: what enters, less what leaves.
    # Beyond the edges the mask goes on as at the edge.
    first = wide[:, np.clip(np.arange(-blur - 1, blur), 0, width - 1)].sum(axis=1, dtype=np.int32)
    for start in range(0, width, at_once):
        columns = np.arange(start, min(start + at_once, width))
        entering = wide[:, np.minimum(columns + blur, width - 1)].astype(np.int32)
        counts = first[:, None] + np.cumsum(
            entering - wide[:, np.maximum(columns - blur - 1, 0)], axis=1, dtype=np.int32
        )
        first = counts[:, -1]
        sums = np.cumsum(np.pad(counts, [(blur + 1, blur), (0, 0)], mode="edge"), axis=0, dtype=np.int32)
        yield ((sums[2 * blur + 1 :] - sums[: -2 * blur - 1]) / area).astype(np.float32)
