"""Measure whether a hole's outline is seen: the step of the gradient across its rim, against the photo's."""

import numpy as np
from numpy.typing import NDArray

FLOOR = 0.5  # grey levels, added to both steps of a ratio: beside a flat photo any rounding is a large one


def rim_steps(picture: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the steps across the rim of the hole in grey levels, float64 [n,3].

    There is one for every place where a row or a column enters or leaves the hole with two pixels on either
    side. `picture` [H,W,3], `mask` [H,W]. With o2, o1 | i1, i2 the four pixels from outside to inside, the
    step is the mean size of the second differences centred on the two pixels at the rim, which are the steps
    of the gradient there:

        (|o2 - 2 o1 + i1| + |o1 - 2 i1 + i2|) / 2

    It is 0 on every ramp, however steep, and h for a jump of h between two sides of equal slope.
    """
    steps = []
    for axis in (0, 1):
        pixels = np.moveaxis(picture.astype(np.float64), axis, 0)
        hole = np.moveaxis(mask, axis, 0)
        a, b, c, d = (pixels[k : len(pixels) - 3 + k] for k in range(4))
        in_a, in_b, in_c, in_d = (hole[k : len(hole) - 3 + k] for k in range(4))
        rim = (in_a == in_b) & (in_b != in_c) & (in_c == in_d)
        steps.append((np.abs(a - 2 * b + c) + np.abs(b - 2 * c + d))[rim] / 2)
    return np.concatenate(steps)


def border_step(picture: NDArray[np.uint8], mask: NDArray[np.bool_]) -> float:
    """Return the mean of `rim_steps` over places and channels; 0 for a hole without such places."""
    steps = rim_steps(picture, mask)
    return float(steps.mean()) if steps.size else 0.0


def step_ratio(steps: list[float], photo_steps: list[float]) -> float:
    """Return the mean step of all fills, divided by that of the photos at the same places."""
    return float(np.mean(steps) / np.mean(photo_steps))


def typical_step_ratio(steps: list[float], photo_steps: list[float]) -> float:
    """Return the geometric mean over the cases of each case's ratio.

    So a seam in a smooth sky counts as much as one in a meadow, whose own steps are ten times as large.
    """
    ratios = (np.array(steps) + FLOOR) / (np.array(photo_steps) + FLOOR)
    return float(np.exp(np.log(ratios).mean()))
