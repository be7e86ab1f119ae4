"""Choose the context crop, the square around the hole that the model sees, and paste its fill into the photo.

Choices, and why:

- One square contains all of the mask, however far apart its parts are: one run fills it.
- Its side is the hole's box plus `margin` x max(box, model size) on both sides, at least the model's size.
  With the default of 1 the hole's box is at most a third of what the model sees, which then is a scene, as in
  training; closer to the hole it would be a zoom that it never learnt (docs/photos.md, "Measured").
- Where the photo is too narrow for that, the square shrinks to its short side: all context is real. Only when
  less than `TIGHT` x the hole would be left on each side does it reach over the photo's edge; what is missing
  is mirrored, mask included. A square smaller than the model's size is scaled up.
- The model's hole is the mask grown by half a latent (4 pixels of the model's 8): nothing of a mask gets
  lost when it is sampled at latent size by nearest, and no rim of what is removed gives it away to the model.
- A square that is much wider than its hole leaves few of the model's pixels to the hole. Then a second pass,
  over the fill of the first, sees a square tight around it, at most 4/5 as wide.
- The fill fades into the photo outside the mask, never inside: what was masked is gone. No pixel farther than
  `feather` from the mask changes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from moebius_edge.common.errors import InvalidInput
from moebius_edge.inpaint.imaging import Bools, Bytes

# 2^28 pixels, 0.8 GB: a whole 108-megapixel photo fits, the square around a hole along a long strip does not.
MAX_SIDE = 16_384
# The least context on each side of the hole, in units of the hole: for less the square leaves the photo.
TIGHT = 0.5
CLOSE = 0.25  # margin of the second pass; other values are not compared yet
FINER = 5, 4  # a second pass is made if the side falls by 5 : 4 at least: less is not worth ten steps

Floats = NDArray[np.float32]
Box = tuple[int, int, int, int]  # left, top, right, bottom; right and bottom are outside


@dataclass(frozen=True)
class Crop:
    """A square in photo pixels. It may reach over the photo's edges, where the photo is mirrored."""

    left: int
    top: int
    side: int

    def inside(self, width: int, height: int) -> Box:
        """Return the part of the square that lies in a photo of this size: left, top, right, bottom."""
        right, bottom = min(self.left + self.side, width), min(self.top + self.side, height)
        return max(self.left, 0), max(self.top, 0), right, bottom

    def cut(self, pixels: Bytes | Bools) -> NDArray[np.uint8]:
        """Cut the square out of an array [H,W,...] as uint8 [side,side,...].

        Where it reaches over the edges it is mirrored.
        """
        height, width = pixels.shape[:2]
        left, top, right, bottom = self.inside(width, height)
        padding = [
            (top - self.top, self.top + self.side - bottom),
            (left - self.left, self.left + self.side - right),
        ]
        padding += [(0, 0)] * (pixels.ndim - 2)
        return np.pad(pixels[top:bottom, left:right], padding, mode="symmetric").astype(np.uint8)


def bounding_box(mask: Bools) -> Box:
    """Return the smallest box around every True pixel of a mask [H,W], which must have one.

    left, top, right, bottom in pixels; right and bottom are outside.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def choose_crop(box: Box, size: tuple[int, int], resolution: int, margin: float, feather: int) -> Crop:
    """Choose the square for a hole with the bounding box `box` in a photo of `size` (width, height).

    `resolution` and `feather` are in pixels, `margin` is in units of the larger of hole and `resolution`. The
    module's docstring has the rules. Raises InvalidInput when the side would exceed `MAX_SIDE` pixels.
    """
    crop = _square(box, size, resolution, margin, feather)
    if crop.side > MAX_SIDE:
        left, top, right, bottom = box
        raise InvalidInput(
            f"the mask spans {max(right - left, bottom - top):,} pixels and needs a square of {crop.side:,} "
            f"around it; at most {MAX_SIDE:,} are allowed: fill its parts one after another, or make the "
            "photo smaller"
        )
    return crop


def _square(box: Box, size: tuple[int, int], resolution: int, margin: float, feather: int) -> Crop:
    left, top, right, bottom = box
    hole = max(right - left, bottom - top)
    short, long = min(size), max(size)
    room = max(round(margin * max(hole, min(resolution, short))), feather)
    side = max(hole + 2 * room, resolution)
    if side > short:
        least = hole + 2 * max(round(min(margin, TIGHT) * hole), feather)
        side = max(short, min(least, long))
    return Crop(_place(left, right, side, size[0]), _place(top, bottom, side, size[1]), side)


def closer_crop(crop: Crop, box: Box, size: tuple[int, int], resolution: int, feather: int) -> Crop | None:
    """Choose the square of the second pass, tight around the same hole; None where it is hardly smaller.

    `crop` is the square of the first pass; the rest as for `choose_crop`.
    """
    closer = _square(box, size, resolution, CLOSE, feather)
    return closer if FINER[0] * closer.side <= FINER[1] * crop.side else None


def _place(low: int, high: int, side: int, length: int) -> int:
    """Return where the square starts along one axis: around the hole, inside the photo.

    A photo that is shorter than the square lies in its middle.
    """
    if side >= length:
        return -((side - length) // 2)
    return min(max((low + high - side) // 2, 0), length - side)


def grow(mask: Bools, radius: int) -> Bools:
    """Dilate a mask [H,W] by a square of side 2 radius + 1 pixels."""
    if radius == 0 or not mask.any():
        return mask
    left, top, right, bottom = bounding_box(mask)
    rows = slice(max(top - radius, 0), min(bottom + radius, mask.shape[0]))
    columns = slice(max(left - radius, 0), min(right + radius, mask.shape[1]))
    part = np.pad(mask[rows, columns], radius)
    grown = mask.copy()
    grown[rows, columns] = _window_sum(part, radius) > 0
    return grown


def feathered(mask: Bools, feather: int) -> Floats:
    """Return the opacity of the fill [H,W], float32 in [0,1].

    Exactly 1 in the mask, exactly 0 farther than `feather` pixels from it.
    """
    blur = feather // 2
    wide = np.pad(grow(mask, feather - blur), blur, mode="edge")
    return (_window_sum(wide, blur) / np.float64((2 * blur + 1) ** 2)).astype(np.float32)


def _window_sum(mask: Bools, radius: int) -> NDArray[np.int32]:
    """Count the True pixels in each whole window of (2 radius + 1)^2 pixels.

    [H,W] -> [H - 2 radius, W - 2 radius].
    """
    total = mask.astype(np.int32)
    for axis in (0, 1):
        sums = np.cumsum(total, axis=axis, dtype=np.int32)
        sums = np.insert(sums, 0, 0, axis=axis)
        count = sums.shape[axis]
        ends, starts = np.arange(2 * radius + 1, count), np.arange(count - 2 * radius - 1)
        total = sums.take(ends, axis=axis) - sums.take(starts, axis=axis)
    return total


def work_picture(
    crop: Crop, rgb: Bytes, resolution: int, filter: Image.Resampling = Image.Resampling.LANCZOS
) -> Bytes:
    """Return the square of a photo [H,W,3] at model resolution [R,R,3]."""
    square = Image.fromarray(crop.cut(rgb))
    return np.asarray(square.resize((resolution, resolution), filter))


def touched(crop: Crop, mask: Bools, resolution: int) -> Bools:
    """Return the mask [H,W] in the square at model resolution [R,R]: every pixel that it touches."""
    square = Image.fromarray(crop.cut(mask) * np.uint8(255))
    return np.asarray(square.resize((resolution, resolution), Image.Resampling.BOX)) > 0


def model_hole(core: Bools, stride: int) -> Bools:
    """Return the model's hole [R,R]: what the mask touches (`core`), grown by half a latent.

    `stride`: pixels per latent. Raises InvalidInput when nothing but hole is left.
    """
    # Nearest takes the top left pixel of each latent: at the far edges half a latent does not reach it.
    edge = core.copy()
    edge[: -(stride // 2), : -(stride // 2)] = False
    hole = grow(core, stride // 2) | grow(edge, stride - 1)
    if hole.all():
        raise InvalidInput(
            "the mask, with its dilation, leaves nothing around it to fill it from; mark a smaller part"
        )
    return hole


def paste(crop: Crop, rgb: Bytes, mask: Bools, fill: Bytes, feather: int) -> Bytes:
    """Paste the model's picture `fill` [R,R,3] into the photo `rgb` [H,W,3] where `mask` [H,W] is True.

    The fill fades out over `feather` pixels around the mask; beyond them the bytes are the photo's. Returns a
    new array [H,W,3].
    """
    height, width = rgb.shape[:2]
    left, top, right, bottom = crop.inside(width, height)
    scaled = Image.fromarray(fill).resize((crop.side, crop.side), Image.Resampling.LANCZOS)
    rows, columns = slice(top - crop.top, bottom - crop.top), slice(left - crop.left, right - crop.left)
    new = np.asarray(scaled)[rows, columns].astype(np.float32)
    old = rgb[top:bottom, left:right]
    opacity = feathered(mask[top:bottom, left:right], feather)[..., None]
    result = rgb.copy()
    # Where the opacity is 0 this is exactly `old`: bytes are whole numbers in float32.
    result[top:bottom, left:right] = np.rint(opacity * new + (1 - opacity) * old).astype(np.uint8)
    return result


def colour_offset(before: Bytes, after: NDArray[np.generic], hole: Bools) -> NDArray[np.float64]:
    """Return what `compensate` adds to each channel, [3], so that the fill has the colours next to the hole.

    It is 1.1 x (mean of `before` - mean of `after`) over the pixels outside the hole in its bounding box
    grown by 6 pixels to the left and top and 5 to the right and bottom, as published. `before`, `after`
    [H,W,3] in 0 to 255, `hole` [H,W]. Zeros where there is no such pixel.
    """
    if not hole.any():
        return np.zeros(3)
    left, top, right, bottom = bounding_box(hole)
    rows, columns = slice(max(top - 6, 0), bottom + 5), slice(max(left - 6, 0), right + 5)
    known = ~hole[rows, columns]
    if not known.any():
        return np.zeros(3)
    change = before[rows, columns][known].astype(np.float64) - after[rows, columns][known].astype(np.float64)
    offset: NDArray[np.float64] = 1.1 * change.mean(axis=0)
    return offset
