"""What several tests of masks and crops compare with."""

import numpy as np
from hypothesis import strategies as st

from moebius_edge.inpaint.imaging import Bools

SIDES = st.integers(8, 300)


@st.composite
def boxes(draw: st.DrawFn) -> tuple[tuple[int, int, int, int], tuple[int, int]]:
    width, height = draw(SIDES), draw(SIDES)
    left, top = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    right, bottom = draw(st.integers(left + 1, width)), draw(st.integers(top + 1, height))
    return (left, top, right, bottom), (width, height)


def within(mask: Bools, radius: int) -> Bools:
    """Pixels at most `radius` rows and columns from the mask, slowly."""
    result = np.zeros_like(mask)
    for y, x in np.argwhere(mask):
        result[max(y - radius, 0) : y + radius + 1, max(x - radius, 0) : x + radius + 1] = True
    return result
