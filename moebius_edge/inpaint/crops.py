"""Choose the context crop, the square around the hole that the model sees, and the hole that it fills.

Choices, and why:

- One square contains all of a hole, however far apart its parts are: one run fills it. Parts of a mask that
  are farther apart are holes of their own (`moebius_edge.inpaint.grouping`).
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

from moebius_edge.common.errors import InvalidInput
from moebius_edge.inpaint.imaging import Bools
from moebius_edge.inpaint.morphology import Box, grow

# 2^28 pixels, 0.8 GB: a whole 108-megapixel photo fits, the square around a hole along a long strip does not.
MAX_SIDE = 16_384
# The least context on each side of the hole, in units of the hole: for less the square leaves the photo.
TIGHT = 0.5
CLOSE = 0.25  # margin of the second pass; other values are not compared yet
FINER = 5, 4  # a second pass is made if the side falls by 5 : 4 at least: less is not worth ten steps


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

    def moved(self, right: int, down: int) -> "Crop":
        """Return the same square so many pixels further to the right and down."""
        return Crop(self.left + right, self.top + down, self.side)


def choose_crop(box: Box, size: tuple[int, int], resolution: int, margin: float, feather: int) -> Crop:
    """Choose the square for a hole with the bounding box `box` in a photo of `size` (width, height).

    `resolution` and `feather` are in pixels, `margin` is in units of the larger of hole and `resolution`. The
    module's docstring has the rules. Raises InvalidInput when the side would exceed `MAX_SIDE` pixels.
    """
    crop = square(box, size, resolution, margin, feather)
    if crop.side > MAX_SIDE:
        left, top, right, bottom = box
        raise InvalidInput(
            f"the mask spans {max(right - left, bottom - top):,} pixels and needs a square of {crop.side:,} "
            f"around it; at most {MAX_SIDE:,} are allowed: fill its parts one after another, or make the "
            "photo smaller"
        )
    return crop


def square(box: Box, size: tuple[int, int], resolution: int, margin: float, feather: int) -> Crop:
    """Return what `choose_crop` chooses, of any side."""
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
    closer = square(box, size, resolution, CLOSE, feather)
    return closer if FINER[0] * closer.side <= FINER[1] * crop.side else None


def _place(low: int, high: int, side: int, length: int) -> int:
    """Return where the square starts along one axis: around the hole, inside the photo.

    A photo that is shorter than the square lies in its middle.
    """
    if side >= length:
        return -((side - length) // 2)
    return min(max((low + high - side) // 2, 0), length - side)


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
