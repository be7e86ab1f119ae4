"""Prepare a photo and paste its fills in the portable mode: any size, through a square around each hole."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from moebius_edge.common.errors import InvalidInput
from moebius_edge.inpaint import crops, harmonic, pasting, squares
from moebius_edge.inpaint.crops import Crop
from moebius_edge.inpaint.grouping import separate
from moebius_edge.inpaint.imaging import Bools, Bytes, Photo, to_tensor
from moebius_edge.inpaint.loop import Job
from moebius_edge.inpaint.morphology import Box, bounding_box, grow
from moebius_edge.inpaint.options import InpaintOptions
from moebius_edge.inpaint.squares import Unknown


@dataclass(frozen=True)
class Surface:
    """The part of a photo that the square around one hole covers. Fills are pasted into its pixels."""

    rgb: Bytes  # [h,w,3], a view of the photo: no second one of 100 megapixels is made
    mask: Bools  # [h,w], dilated
    clear: Bools | None  # [h,w], where the photo is fully transparent; None: nowhere
    corner: tuple[int, int]  # its left and top in the photo


@dataclass(frozen=True)
class PortableEdit:
    """One pass over one hole: the square that the model fills, and the way back.

    Where the square is much wider than the hole, its fill is coarse: then `refined` gives a second pass.
    """

    surface: Surface
    crop: Crop  # in pixels of the surface
    closer: Crop | None  # the square of a second pass; None where the fill is not coarse
    unknown: Unknown | None
    picture: Bytes  # [R,R,3], the square at model resolution
    core: Bools  # [R,R], what the mask touches of it
    hole: Bools  # [R,R], what the model fills of it: a little more
    size: tuple[int, int]  # the model's resolution R and its latent size
    options: InpaintOptions
    again: bool = False  # the second pass: the hole is filled already

    @classmethod
    def of(
        cls,
        surface: Surface,
        crop: Crop,
        size: tuple[int, int],
        options: InpaintOptions,
        *,
        closer: Crop | None = None,
        again: bool = False,
    ) -> "PortableEdit":
        """Prepare what the model gets. `size`: its resolution R and its latent size.

        Raises InvalidInput when the hole covers all of the square, or nothing else in it can be seen.
        """
        resolution, stride = size[0], size[0] // size[1]
        core = squares.touched(crop, surface.mask, resolution)
        hole = crops.model_hole(core, stride)
        where = surface.clear
        if where is not None and not again:
            squares.require_seen(crop, surface.mask, where)
        # A filter of 3 pixels to each side, of the larger of the model's and the photo's, sees further than
        # the hole is grown: by half a latent.
        if not again and 6 * max(resolution, crop.side) > stride * crop.side:
            where = surface.mask if where is None else surface.mask | where
        unknown = None if where is None else squares.complete(crop, surface.rgb, where, resolution)
        picture = squares.picture_of(crop, surface.rgb, resolution, unknown)
        return cls(surface, crop, closer, unknown, picture, core, hole, size, options, again)

    def job(self) -> Job:
        """Return the tensors for the loop: the square in [-1,1] and the model's hole."""
        mask = self.hole.astype(np.float32)[None, None]
        return Job(to_tensor(self.picture), mask, whole_start=self.again)

    def refined(self, picture: NDArray[np.float32]) -> "PortableEdit":
        """Return the second pass, over this one's `picture` [R,R,3] in [0,1]. Only where there is a `closer`.

        Raises InvalidInput as `of` does.
        """
        assert self.closer is not None
        self.paste(picture, feather=0)
        return PortableEdit.of(self.surface, self.closer, self.size, self.options, again=True)

    def paste(self, picture: NDArray[np.float32], feather: int) -> None:
        """Paste the model's picture [R,R,3] in [0,1] into the photo; what is transparent stays as it is."""
        surface, fill = self.surface, self._fill(picture)
        pasting.paste(self.crop, surface.rgb, surface.mask, fill, feather, surface.clear)

    def _fill(self, picture: NDArray[np.float32]) -> Bytes:
        """Return the model's picture as bytes [R,R,3], its colours fitted to those around by `blend`."""
        fill = picture.astype(np.float64) * 255
        if self.options.blend == "harmonic":
            fill = fill + harmonic.correction(self._surround(), fill, self.core)
        return np.rint(np.clip(fill, 0, 255)).astype(np.uint8)

    def _surround(self) -> Bytes:
        """Return the square at model resolution [R,R,3], with nothing of what is removed outside the core.

        The box filter sees a pixel's own area alone; Lanczos, the filter of the model's picture, sees
        further.
        """
        return squares.picture_of(self.crop, self.surface.rgb, len(self.core), self.unknown, box=True)


@dataclass(frozen=True)
class PortableEdits:
    """The edits of one photo, one for each of its holes; no square overlaps another."""

    photo: Photo
    edits: tuple[PortableEdit, ...]

    @classmethod
    def plan(
        cls, photo: Photo, mask: Bools, size: tuple[int, int], options: InpaintOptions
    ) -> "PortableEdits":
        """Choose the holes and their squares, and prepare what the model gets.

        `mask` [H,W], True = to be filled, not dilated yet. `size`: the model's resolution R and its latent
        size. The edits will write into `photo.rgb`. Raises InvalidInput when the dilated mask covers the
        whole photo, all of a square, or only what is fully transparent.
        """
        mask = grow(mask, options.dilate)
        if mask.all():
            raise InvalidInput(
                f"grown by {options.dilate} pixels, the mask covers the whole photo; dilate less"
            )
        clear = None if photo.alpha is None else photo.alpha == 0
        if clear is not None and clear[mask].all():
            raise InvalidInput(
                "the mask covers only pixels that are fully transparent: nothing would be seen of the fill"
            )
        resolution, margin, feather = size[0], options.margin, options.feather

        def covered(box: Box) -> Box:
            return crops.square(box, photo.size, resolution, margin, feather).inside(*photo.size)

        boxes = [bounding_box(mask)] if options.together else separate(mask, resolution, covered)
        edits = []
        for box in boxes:
            crop = crops.choose_crop(box, photo.size, resolution, margin, feather)
            closer = crops.closer_crop(crop, box, photo.size, resolution, feather)
            left, top, right, bottom = crop.inside(*photo.size)
            part = slice(top, bottom), slice(left, right)
            shown = None if clear is None else clear[part]
            surface = Surface(photo.rgb[part], mask[part], shown, (left, top))
            closer = None if closer is None else closer.moved(-left, -top)
            edits.append(PortableEdit.of(surface, crop.moved(-left, -top), size, options, closer=closer))
        return cls(photo, tuple(edits))

    def finish(self, ends: Sequence[tuple[Any, NDArray[np.float32]]]) -> Image.Image:
        """Return the photo with its holes filled: `ends` are the last pass over each hole, and its picture.

        The pictures are the model's, [R,R,3] in [0,1].
        """
        for edit, picture in ends:
            edit.paste(picture, edit.options.feather)
        return self.photo.with_pixels(self.photo.rgb)
