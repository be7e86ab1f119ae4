"""Measure fills whose truth is known: one by one (`score`), and a model's on all cases (`Judge`)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

from moebius_edge.training.borders import border_step, step_ratio, typical_step_ratio
from moebius_edge.training.cases import Cases
from moebius_edge.training.metrics import psnr
from moebius_edge.training.texture import PhotoTexture

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Scores = dict[str, float]

LEAST_CONTRAST = 0.5  # grey levels of the photo's: in an overexposed sky it is 0


def score(photo: Pixels, filled: Pixels, mask: Mask) -> Scores:
    """Measure one fill in the hole and at its rim.

    In the hole: PSNR in dB, SSIM (windows of 7x7 centred there), contrast: the fill's standard deviation over
    the photo's. At the rim: the step in grey levels of the fill and of the photo.
    """
    _, similarity = structural_similarity(photo, filled, channel_axis=-1, full=True)
    ours, photos = (picture[mask].astype(float).std(axis=0).mean() for picture in (filled, photo))
    return {
        "psnr": psnr(photo, filled, mask),
        "ssim": float(similarity[mask].mean()),
        "contrast": float(ours / max(photos, LEAST_CONTRAST)),
        "step": border_step(filled, mask),
        "photo_step": border_step(photo, mask),
    }


class Judge:
    """The cases, with what of their photos every row is compared with."""

    def __init__(self, cases: Cases) -> None:
        self.cases = cases
        self.texture = PhotoTexture(cases.photos, cases.masks)

    def __call__(self, outputs: list[Pixels]) -> dict[str, Any]:
        """Make a row: means, distances of texture, numbers of each case. Outputs count only in the holes."""
        cases = list(zip(self.cases.photos, outputs, self.cases.masks, strict=True))
        outputs = [np.where(mask[..., None], output, photo) for photo, output, mask in cases]
        scored = [score(*case) for case in zip(self.cases.photos, outputs, self.cases.masks, strict=True)]
        columns = {key: [row[key] for row in scored] for key in scored[0]}
        levels, in_photo_units = self.texture.distances(outputs)
        return {
            "psnr": float(np.mean(columns["psnr"])),
            "ssim": float(np.mean(columns["ssim"])),
            "contrast": float(np.mean(columns["contrast"])),
            "swd": float(np.mean(levels)),
            "swd_photo_units": float(np.mean(in_photo_units)),
            "border_step": step_ratio(columns["step"], columns["photo_step"]),
            "border_step_typical": typical_step_ratio(columns["step"], columns["photo_step"]),
            "swd_levels": levels,
            "swd_photo_units_levels": in_photo_units,
            "cases": columns,
        }
