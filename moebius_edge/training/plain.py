"""Fill holes without a model, to compare with. Pictures: uint8 [H,W,3]."""

import numpy as np
from numpy.typing import NDArray
from skimage.restoration import inpaint_biharmonic

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]


def mean_fill(photo: Pixels, mask: Mask) -> Pixels:
    """Fill the hole with the mean colour of the rest."""
    filled = photo.copy()
    filled[mask] = np.round(photo[~mask].mean(axis=0)).astype(np.uint8)
    return filled


def biharmonic_fill(photo: Pixels, mask: Mask) -> Pixels:
    """Fill the hole with the smoothest surface through its border (scikit-image)."""
    filled = inpaint_biharmonic(photo, mask, channel_axis=-1) * 255.0
    result: Pixels = np.clip(np.round(filled), 0, 255).astype(np.uint8)
    return result
