"""The portable mode's preparation and paste: any photo, at its own resolution, through a context crop."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from moebius_edge.common.errors import InvalidInput
from moebius_edge.inpaint import crops, harmonic
from moebius_edge.inpaint.imaging import Bools, Bytes, Photo, to_tensor
from moebius_edge.inpaint.loop import Job
from moebius_edge.inpaint.options import InpaintOptions


@dataclass(frozen=True)
class PortableEdit:
    """Which square of the photo the model works on, and the way back into the photo."""

    photo: Photo
    mask: Bools  # [H,W], dilated
    crop: crops.Crop
    picture: Bytes  # [R,R,3], the crop at model resolution
    core: Bools  # [R,R], what the mask touches of it
    hole: Bools  # [R,R], what the model fills of it: a little more
    options: InpaintOptions

    @classmethod
    def plan(
        cls, photo: Photo, mask: Bools, size: tuple[int, int], options: InpaintOptions
    ) -> "PortableEdit":
        """`size`: R and the latent size. Raises InvalidInput when the dilated mask covers the whole photo or
        all of the crop."""
        resolution, latent_size = size
        mask = crops.grow(mask, options.dilate)
        if mask.all():
            raise InvalidInput(
                f"grown by {options.dilate} pixels, the mask covers the whole photo; dilate less"
            )
        box = crops.bounding_box(mask)
        crop = crops.choose_crop(box, photo.size, resolution, options.margin, options.feather)
        picture = crops.work_picture(crop, photo.rgb, resolution)
        core = crops.touched(crop, mask, resolution)
        hole = crops.model_hole(core, resolution // latent_size)
        return cls(photo, mask, crop, picture, core, hole, options)

    def job(self) -> Job:
        """The tensors: the crop in [-1,1] and the model's hole."""
        return Job(to_tensor(self.picture), self.hole.astype(np.float32)[None, None])

    def finish(self, picture: NDArray[np.float32]) -> Image.Image:
        """Put the model's picture [R,R,3] in [0,1] into the hole of the photo."""
        fill = self._fill(picture)
        return self.photo.with_pixels(
            crops.paste(self.crop, self.photo.rgb, self.mask, fill, self.options.feather)
        )

    def _fill(self, picture: NDArray[np.float32]) -> Bytes:
        """The model's picture as bytes [R,R,3], its colours fitted to those around the hole by `blend`."""
        fill = picture.astype(np.float64) * 255
        if self.options.blend == "harmonic":
            fill = fill + harmonic.correction(self._surround(), fill, self.core)
        return np.rint(np.clip(fill, 0, 255)).astype(np.uint8)

    def _surround(self) -> Bytes:
        """The crop at model resolution [R,R,3], nothing of what is removed in any pixel outside the core.

        The box filter sees a pixel's own area alone; that of the model's picture, Lanczos, sees further.
        """
        resolution = len(self.core)
        return crops.work_picture(self.crop, self.photo.rgb, resolution, Image.Resampling.BOX)
