"""Prepare a photo and paste its fill as the authors released it: their resizing, thresholds and blending.

The numbers in here (thresholds, filters, truncation instead of rounding) are theirs and pinned by the golden
cases of tests/golden/pipeline; for photos of any shape use the portable mode.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from moebius_edge.common.errors import InvalidInput
from moebius_edge.inpaint.imaging import Bools, Bytes, Photo, to_tensor
from moebius_edge.inpaint.loop import Job
from moebius_edge.inpaint.morphology import bounding_box
from moebius_edge.inpaint.options import InpaintOptions

BLUR_RADIUS = 3  # Gaussian of the paste, pixels
SIDE_MULTIPLE = 64  # pixels


@dataclass(frozen=True)
class PublishedEdit:
    """One edit in the published mode: a photo is resized to the resolution R, filled, and stays so large."""

    image: Image.Image  # RGB, R x R
    soft: Image.Image  # L, R x R: the mask with the soft edges that resizing gave it
    options: InpaintOptions

    @classmethod
    def plan(
        cls, photo: Photo, mask: Bools, size: tuple[int, int], options: InpaintOptions
    ) -> "PublishedEdit":
        """Resize photo and mask to what the model gets.

        `mask` [H,W], True = to be filled. `size`: the model's resolution R and its latent size. Raises
        InvalidInput when the photo, resized to R on its short side, is not R x R, and when the mask covers
        everything or nothing at that size.
        """
        image, soft = resized(photo.rgb, mask, size[0], options.dilate)
        edit = cls(image, soft, options)
        hole = edit._hole()
        if not hole.any() or hole.all():
            what = "covers everything" if hole.any() else "is too thin to be left"
            raise InvalidInput(
                f"at the model's resolution the mask {what}; change `dilate`, or use the portable mode"
            )
        return edit

    def job(self) -> Job:
        """Return the tensors for the loop: the picture in [-1,1], and the mask, binary above one half."""
        mask = self._hole().astype(np.float32)[None, None]
        return Job(to_tensor(np.asarray(self.image)), mask, whole_start=True)

    @property
    def edits(self) -> "tuple[PublishedEdit]":
        """The one edit of the photo."""
        return (self,)

    def finish(self, ends: Sequence[tuple[Any, NDArray[np.float32]]]) -> Image.Image:
        """Return the model's picture [R,R,3] in [0,1], blended over the resized photo.

        `ends` are the edit and the picture. With the option `paste` off, the model's picture alone.
        """
        ((_, picture),) = ends
        if not self.options.paste:
            return Image.fromarray(_bytes(picture))
        return Image.fromarray(blend(self.image, self.soft, picture, self.options.compensate))

    def _hole(self) -> Bools:
        return np.asarray(self.soft) > 127.5


def resized(photo: Bytes, mask: Bools, resolution: int, dilate: int = 0) -> tuple[Image.Image, Image.Image]:
    """Resize a photo [H,W,3] and its mask [H,W] by Lanczos, so that the short side is `resolution`.

    Returns an RGB picture and a soft L picture. The sides are rounded down to multiples of 64 and the picture
    is resized to just that, a little out of proportion: the released code does so, and cuts nothing off.
    `dilate` grows the mask by a square, after resizing. Raises InvalidInput when the result is not the
    model's square or `dilate` is half of it or more.
    """
    height, width = photo.shape[:2]
    scale = resolution / min(width, height)
    sides = [int(round(side * scale, 6)) // SIDE_MULTIPLE * SIDE_MULTIPLE for side in (width, height)]
    if sides != [resolution, resolution]:
        raise InvalidInput(
            f"published mode would work at {sides[0]}x{sides[1]}; the model only takes "
            f"{resolution}x{resolution}: crop the photo to a square, or use the portable mode"
        )
    if 2 * dilate >= resolution:
        raise InvalidInput(f"dilate is {dilate}; in published mode expected less than {resolution // 2}")
    image = Image.fromarray(photo).resize((sides[0], sides[1]), Image.Resampling.LANCZOS)
    soft = Image.fromarray(mask.astype(np.uint8) * np.uint8(255))
    soft = soft.resize((sides[0], sides[1]), Image.Resampling.LANCZOS)
    if dilate:
        soft = soft.filter(ImageFilter.MaxFilter(2 * dilate + 1))
    return image, soft


def blend(image: Image.Image, soft: Image.Image, picture: NDArray[np.float32], compensate: bool) -> Bytes:
    """Blend the model's picture [R,R,3] in [0,1] over the resized photo and return bytes [R,R,3], truncated.

    The opacity is the mask `soft` after a Gaussian blur of radius `BLUR_RADIUS`. `compensate` shifts the
    colours by `colour_offset` first.
    """
    before = np.asarray(image)
    fill = _bytes(picture).astype(np.float64)
    if compensate:  # only then is the mask made hard again, at a threshold that excludes 128
        hole = np.asarray(soft) > 128
        soft = Image.fromarray(hole.astype(np.uint8) * np.uint8(255))
        fill = fill + colour_offset(before, fill, hole)
    opacity = (
        np.asarray(soft.filter(ImageFilter.GaussianBlur(BLUR_RADIUS)), dtype=np.float64)[..., None] / 255
    )
    return np.clip(fill * opacity + before * (1 - opacity), 0, 255).astype(np.uint8)


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


def _bytes(picture: NDArray[np.float32]) -> Bytes:
    return (picture * np.float32(255)).astype(np.uint8)  # truncated, as published
