"""Draw the outline of a mask into a photo, for people who look at both."""

import numpy as np

from moebius_edge.inpaint.imaging import Bools, Bytes
from moebius_edge.inpaint.morphology import grow


def outlined(photo: Bytes, mask: Bools, width: int, colour: tuple[int, int, int]) -> Bytes:
    """Draw a line around the mask [H,W], outside of it, into a copy of the photo [H,W,3].

    `width` in pixels; `colour` is RGB, 0 to 255.
    """
    picture: Bytes = np.array(photo)
    picture[grow(mask, width) & ~mask] = colour
    return picture
