"""Bring the square around a hole to the model's size, strip by strip, without the colours that mean nothing.

A square of 16,384 pixels has 268 million of them. What is computed in floats, or in Pillow's four bytes per
pixel, is therefore never whole: memory follows a strip. Pillow resizes rows first and then columns, and
rounds to bytes between the two (docs/loop.md, "Resizing"), so strips give the same bytes as the whole.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from moebius_edge.common.errors import InvalidInput
from moebius_edge.inpaint.crops import Crop
from moebius_edge.inpaint.harmonic import extend
from moebius_edge.inpaint.imaging import Bools, Bytes

STRIP = 1 << 20  # pixels that are worked on at a time
NOTHING_SEEN = (
    "everything around the mask is fully transparent: nothing is left to fill it from; mark a part that can "
    "be seen, or remove the transparency"
)


@dataclass(frozen=True)
class Unknown:
    """Pixels whose colours mean nothing, and what stands for them (docs/loop.md, step 4).

    Under full transparency most editors save black; under the mask is what is to be removed. The resizing
    filter would mix either into its neighbours.
    """

    where: Bools  # [H,W] of the photo
    cells: Bytes  # [n,n,3]: a colour for each cell of a grid over the square


def picture_of(
    crop: Crop, rgb: Bytes, resolution: int, unknown: Unknown | None = None, *, box: bool = False
) -> Bytes:
    """Return the square of a photo [H,W,3] at model resolution [R,R,3], by Lanczos or by the box filter.

    Where the square reaches over the photo's edges it is mirrored.
    """
    strips = _strips(crop, rgb) if unknown is None else _completed(crop, rgb, unknown)
    filter = Image.Resampling.BOX if box else Image.Resampling.LANCZOS
    return _resized(strips, resolution, filter)


def touched(crop: Crop, mask: Bools, resolution: int) -> Bools:
    """Return the mask [H,W] in the square at model resolution [R,R]: every pixel that it touches."""
    strips = (strip * np.uint8(255) for strip in _strips(crop, mask))
    return _resized(strips, resolution, Image.Resampling.BOX) > 0


def require_seen(crop: Crop, mask: Bools, clear: Bools) -> None:
    """Raise InvalidInput unless a pixel in the square is neither masked nor fully transparent.

    What is to be removed would stand for all that is transparent. `mask`, `clear`: [H,W] of the photo.
    """
    left, top, right, bottom = crop.inside(mask.shape[1], mask.shape[0])
    part = slice(top, bottom), slice(left, right)
    if (mask[part] | clear[part]).all():
        raise InvalidInput(NOTHING_SEEN)


def complete(crop: Crop, rgb: Bytes, where: Bools, resolution: int) -> Unknown | None:
    """Find what stands for the pixels `where` [H,W] of a photo [H,W,3]; None if there is none in the square.

    The square is divided into the model's pixels, or the photo's where these are larger. A cell has the mean
    of its known pixels; where there are none, the harmonic function of the cells around. Raises InvalidInput
    when nothing in the square is known.
    """
    width, height = where.shape[1], where.shape[0]
    left, top, right, bottom = crop.inside(width, height)
    if not where[top:bottom, left:right].any():
        return None
    cells = min(crop.side, resolution)
    edges = -(-np.arange(cells + 1) * crop.side // cells)  # the first pixel of each cell
    sums, counts = np.zeros((cells, cells, 3)), np.zeros((cells, cells))
    pairs = zip(_strips(crop, rgb, edges), _strips(crop, where, edges), strict=True)
    for row, (pixels, unknown) in enumerate(pairs):
        known = ~unknown
        sums[row] = np.add.reduceat((pixels * known[..., None]).sum(axis=0, dtype=np.int64), edges[:-1])
        counts[row] = np.add.reduceat(known.sum(axis=0, dtype=np.int64), edges[:-1])
    if not counts.any():
        raise InvalidInput(NOTHING_SEEN)
    means = (sums / np.maximum(counts, 1)[..., None]).transpose(2, 0, 1)
    values = extend(means, counts == 0).transpose(1, 2, 0)
    return Unknown(where, np.rint(np.clip(values, 0, 255)).astype(np.uint8))


def _completed(crop: Crop, rgb: Bytes, unknown: Unknown) -> Iterator[Bytes]:
    """Yield the strips of the square with the unknown pixels in the colours of their cells."""
    places = np.arange(crop.side) * len(unknown.cells) // crop.side  # the cell of each row and column
    top = 0
    for strip, where in zip(_strips(crop, rgb), _strips(crop, unknown.where), strict=True):
        y, x = np.nonzero(where)
        strip[y, x] = unknown.cells[places[top + y], places[x]]
        top += len(strip)
        yield strip


def _strips(
    crop: Crop, pixels: Bytes | Bools, edges: NDArray[np.intp] | None = None
) -> Iterator[NDArray[Any]]:
    """Yield the square of [H,W,...], mirrored where it reaches over the edges, from top to bottom.

    `edges`: the first row of each strip, and the last one's end; None: strips of `STRIP` pixels.
    """
    height, width = pixels.shape[:2]
    left, top, right, bottom = crop.inside(width, height)
    above, below = top - crop.top, crop.top + crop.side - bottom
    rows = np.pad(np.arange(top, bottom), (above, below), mode="symmetric")
    padding = [(0, 0), (left - crop.left, crop.left + crop.side - right)] + [(0, 0)] * (pixels.ndim - 2)
    if edges is None:
        edges = np.append(np.arange(0, crop.side, max(STRIP // crop.side, 1)), crop.side)
    for start, stop in pairwise(edges):
        yield np.pad(pixels[rows[start:stop], left:right], padding, mode="symmetric")


def _resized(strips: Iterator[Bytes], resolution: int, filter: Image.Resampling) -> Bytes:
    """Return a square that comes in strips [k,side,...] resized to [R,R,...]."""
    narrow = [np.asarray(Image.fromarray(strip).resize((resolution, len(strip)), filter)) for strip in strips]
    return np.asarray(Image.fromarray(np.concatenate(narrow)).resize((resolution, resolution), filter))
