"""Prepare a photo and paste its fill in the portable mode: any size, through a context crop."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from moebius_edge.common.errors import InvalidInput
from moebius_edge.inpaint import crops, harmonic, pasting
from moebius_edge.inpaint.imaging import Bools, Bytes, Photo, to_tensor
from moebius_edge.inpaint.loop import Job
from moebius_edge.inpaint.morphology import bounding_box, grow
from moebius_edge.inpaint.options import InpaintOptions


@dataclass(frozen=True)
class PortableEdit:
    """One pass of a portable edit: the square of the photo that the model fills, and the way back.

    Where the square is much wider than the hole, its fill is coarse: then `refined` gives a second pass.
    Fills are pasted into the photo's own array: a second one of 100 megapixels would be 300 MB.
    """

    photo: Photo
    mask: Bools  # [H,W], dilated
    crop: crops.Crop
    picture: Bytes  # [R,R,3], the crop at model resolution
    core: Bools  # [R,R], what the mask touches of it
    hole: Bools  # [R,R], what the model fills of it: a little more
    size: tuple[int, int]  # the model's resolution R and its latent size
    options: InpaintOptions
    again: bool = False  # the second pass: the hole is filled already

    @classmethod
    def plan(
        cls, photo: Photo, mask: Bools, size: tuple[int, int], options: InpaintOptions
    ) -> "PortableEdit":
        """Choose the square around the mask and prepare what the model gets.

        `mask` [H,W], True = to be filled, not dilated yet. `size`: the model's resolution R and its latent
        size. The edit will write into `photo.rgb`. Raises InvalidInput when the dilated mask covers the whole
        photo or all of the square.
        """
        mask = grow(mask, options.dilate)
        if mask.all():
            raise InvalidInput(
                f"grown by {options.dilate} pixels, the mask covers the whole photo; dilate less"
            )
        box = bounding_box(mask)
        crop = crops.choose_crop(box, photo.size, size[0], options.margin, options.feather)
        return cls._of(photo, mask, crop, size, options)

    @classmethod
    def _of(
        cls,
        photo: Photo,
        mask: Bools,
        crop: crops.Crop,
        size: tuple[int, int],
        options: InpaintOptions,
        *,
        again: bool = False,
    ) -> "PortableEdit":
        resolution, latent_size = size
        picture = pasting.work_picture(crop, photo.rgb, resolution)
        core = pasting.touched(crop, mask, resolution)
        hole = crops.model_hole(core, resolution // latent_size)
        return cls(photo, mask, crop, picture, core, hole, size, options, again)

    @cached_property
    def closer(self) -> crops.Crop | None:
        """The square of a second pass; None where the fill is not coarse."""
        box = bounding_box(self.mask)
        return crops.closer_crop(self.crop, box, self.photo.size, self.size[0], self.options.feather)

    def job(self) -> Job:
        """Return the tensors for the loop: the square in [-1,1] and the model's hole."""
        mask = self.hole.astype(np.float32)[None, None]
        return Job(to_tensor(self.picture), mask, whole_start=self.again)

    def refined(self, picture: NDArray[np.float32]) -> "PortableEdit":
        """Return the second pass, over the photo in whose hole this one's `picture` [R,R,3] in [0,1] is.

        Only where there is a `closer` square. Raises InvalidInput as `plan` does.
        """
        assert self.closer is not None
        self._paste(picture, feather=0)
        return self._of(self.photo, self.mask, self.closer, self.size, self.options, again=True)

    def finish(self, picture: NDArray[np.float32]) -> Image.Image:
        """Return the photo with the model's picture [R,R,3] in [0,1] in its hole."""
        self._paste(picture, self.options.feather)
        return self.photo.with_pixels(self.photo.rgb)

    def _paste(self, picture: NDArray[np.float32], feather: int) -> None:
        pasting.paste(self.crop, self.photo.rgb, self.mask, self._fill(picture), feather)

    def _fill(self, picture: NDArray[np.float32]) -> Bytes:
        """Return the model's picture as bytes [R,R,3], its colours fitted to those around by `blend`."""
        fill = picture.astype(np.float64) * 255
        if self.options.blend == "harmonic":
            fill = fill + harmonic.correction(self._surround(), fill, self.core)
        return np.rint(np.clip(fill, 0, 255)).astype(np.uint8)

    def _surround(self) -> Bytes:
        """Return the crop at model resolution [R,R,3], with nothing of what is removed outside the core.

        The box filter sees a pixel's own area alone; Lanczos, the filter of the model's picture, sees
        further.
        """
        resolution = len(self.core)
        return pasting.work_picture(self.crop, self.photo.rgb, resolution, Image.Resampling.BOX)
