"""Bound and grow masks. Memory follows a block of lines, not the mask: photos have 100 megapixels."""

import numpy as np

from moebius_edge.inpaint.imaging import Bools

BLOCK = 1 << 22  # pixels that are worked on at a time

Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels; right and bottom are outside


def bounding_box(mask: Bools) -> Box:
    """Return the smallest box around every True pixel of a mask [H,W], which must have one."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def grown_box(box: Box, reach: int, inside: Box) -> Box:
    """Return a box grown by `reach` pixels on each side, as far as it lies in `inside`."""
    left, top, right, bottom = box
    return (
        max(left - reach, inside[0]),
        max(top - reach, inside[1]),
        min(right + reach, inside[2]),
        min(bottom + reach, inside[3]),
    )


def grow(mask: Bools, radius: int) -> Bools:
    """Dilate a mask [H,W] by a square of side 2 radius + 1 pixels."""
    if radius == 0 or not mask.any():
        return mask
    whole = 0, 0, mask.shape[1], mask.shape[0]
    left, top, right, bottom = grown_box(bounding_box(mask), radius, whole)
    grown = mask.copy()
    part = grown[top:bottom, left:right]
    _grow_lines(part, radius)
    _grow_lines(part.T, radius)
    return grown


def _grow_lines(mask: Bools, radius: int) -> None:
    """Dilate each line mask[i] by `radius` to both sides, in place."""
    at_once = max(BLOCK // mask.shape[1], 1)
    for start in range(0, len(mask), at_once):
        lines = mask[start : start + at_once]
        before, after = lines.copy(), lines.copy()
        reach = 0  # how far both have grown; it doubles, so that a radius of 4,096 takes 13 steps
        while reach < radius:
            step = min(reach + 1, radius - reach)
            before[:, step:] |= before[:, :-step].copy()
            after[:, :-step] |= after[:, step:].copy()
            reach += step
        lines[:] = before | after
