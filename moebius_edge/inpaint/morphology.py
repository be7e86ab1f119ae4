"""Bound and grow masks. Memory follows a block of lines, not the mask: photos have 100 megapixels."""

import numpy as np

from moebius_edge.inpaint.imaging import Bools

BLOCK = 1 << 22  # pixels that are worked on at a time

Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels; right and bottom are outside


def bounding_box(mask: Bools) -> Box:
    """Return the smallest box around every True pixel of a mask [H,W], which must have one."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def grow(mask: Bools, radius: int) -> Bools:
    """Dilate a mask [H,W] by a square of side 2 radius + 1 pixels."""
    if radius == 0 or not mask.any():
        return mask
    left, top, right, bottom = bounding_box(mask)
    rows = slice(max(top - radius, 0), min(bottom + radius, mask.shape[0]))
    columns = slice(max(left - radius, 0), min(right + radius, mask.shape[1]))
    grown = mask.copy()
    part = grown[rows, columns]
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
