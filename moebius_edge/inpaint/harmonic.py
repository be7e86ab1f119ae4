"""The paste in the gradient domain: the fill takes on the photo's colours along the rim of the hole.

A model's fill may be right in itself and still be a shade off, and the eye traces the outline of the smallest
step. Beside the hole both the photo and the model's picture are known; their difference there, continued into
the hole as a harmonic function (Laplace's equation with the difference as Dirichlet values), is added to the
fill. No step is left at the rim, and inside only what is smooth changes (Pérez et al., "Poisson Image
Editing", 2003). An edge that crosses the rim has no difference where the fill continues it, and where it does
not, its narrow difference fades within a few of its own widths.

Every result is made of single additions and multiplications of 64-bit floats in the order of docs/loop.md, so
that other languages get the same numbers.
"""

import numpy as np
from numpy.typing import NDArray

from moebius_edge.inpaint.imaging import Bools, Bytes
from moebius_edge.inpaint.morphology import bounding_box

PASSES = 2  # of the 3 x 3 mean along the rim: 1.2 pixels standard deviation
CYCLES = (
    5  # V-cycles at each size: the solution to 1 % of the range of values (tests/inpaint/test_harmonic.py)
)
SWEEPS = 2  # of Jacobi's method before and after each coarser size
BLOCK = 16  # pixels
STEP = 0.2  # of a sweep: 0.8 of the change that satisfies a pixel's equation

Doubles = NDArray[np.float64]


def correction(surround: Bytes, fill: Doubles, hole: Bools) -> Doubles:
    """Compute what to add to `fill` so that it meets `surround` at the rim of `hole`, [R,R,3].

    `surround` is the photo at this size, of which only what is around the hole counts; `fill` the model's
    picture; both [R,R,3] in 0 to 255. `hole` [R,R], not all of it. Outside the hole the correction is the
    low-passed difference of the two.
    """
    known = (~hole).astype(np.float64)
    # Channels first: planes of numbers that lie side by side are what numpy adds fastest.
    difference = np.ascontiguousarray((surround - fill).transpose(2, 0, 1)) * known
    count = np.maximum(_window_sum(known), 1)
    for _ in range(PASSES):
        difference = _window_sum(difference) / count * known
    return extend(difference, hole).transpose(1, 2, 0)


def extend(values: Doubles, hole: Bools) -> Doubles:
    """`values` [C,H,W] with the harmonic function of those around it in `hole` [H,W], not all of it.

    Beyond the picture's edges the function goes on as at the edge (no gradient across it).
    """
    if not hole.any():
        return values
    left, top, right, bottom = bounding_box(hole)
    # With its rim, in whole blocks: their pixels come in pairs down to a size where few are left.
    part = tuple(
        slice(max(low - 1, 0) // BLOCK * BLOCK, -(-(high + 1) // BLOCK) * BLOCK)
        for low, high in ((top, bottom), (left, right))
    )
    result = values.copy()
    result[:, *part] = _solve(values[:, *part], hole[part].astype(np.float64))
    return result


def _window_sum(values: Doubles) -> Doubles:
    """Return sums over the 3 x 3 window around each pixel of [...,H,W]; beyond the edges is 0."""
    p = np.pad(values, [(0, 0)] * (values.ndim - 2) + [(1, 1), (1, 1)])
    rows = p[..., :-2] + p[..., 1:-1] + p[..., 2:]
    sums: Doubles = rows[..., :-2, :] + rows[..., 1:-1, :] + rows[..., 2:, :]
    return sums


def _solve(values: Doubles, free: Doubles) -> Doubles:
    """`values` [C,h,w], harmonic where `free` [h,w] is 1: starts from the solution at half the size."""
    if not free.any():
        return values
    fixed = 1 - free
    count = _children(fixed)
    coarse = _solve(_children(values * fixed) / np.maximum(count, 1), (count == 0).astype(np.float64))
    solution = values * fixed + _enlarged(coarse, free.shape) * free
    zero = np.zeros_like(solution)
    for _ in range(CYCLES):
        _v_cycle(solution, zero, free)
    return solution


def _v_cycle(x: Doubles, target: Doubles, free: Doubles) -> Doubles:
    """`x`, moved nearer to 4 x - (sum of the four neighbours of x) = `target` where `free` is 1, in place.

    What smooth error is left is found at half the size, where only pixels are free whose four children are.
    """
    _relax(x, target, free)
    inner = (_children(free) == 4).astype(np.float64)
    if inner.any():
        rest = _children(_residual(x, target, free)) * inner
        x += _enlarged(_v_cycle(np.zeros_like(rest), rest, inner), free.shape) * free
    _relax(x, target, free)
    return x


def _relax(x: Doubles, target: Doubles, free: Doubles) -> None:
    for _ in range(SWEEPS):
        change = _residual(x, target, free)
        change *= STEP
        x += change


def _residual(x: Doubles, target: Doubles, free: Doubles) -> Doubles:
    """`target` - (4 x - neighbours) where `free` is 1, else 0; beyond the edges are the edges' values."""
    vertical, horizontal = np.empty_like(x), np.empty_like(x)
    vertical[:, 1:], vertical[:, 0] = x[:, :-1], x[:, 0]
    vertical[:, :-1] += x[:, 1:]
    vertical[:, -1] += x[:, -1]
    horizontal[..., 1:], horizontal[..., 0] = x[..., :-1], x[..., 0]
    horizontal[..., :-1] += x[..., 1:]
    horizontal[..., -1] += x[..., -1]
    vertical += horizontal
    vertical += target
    vertical -= 4 * x
    vertical *= free
    return vertical


def _children(x: Doubles) -> Doubles:
    """Return sums of 2 x 2 pixels of [...,h,w]; what an odd last row or column lacks is 0."""
    x = np.pad(x, [(0, 0)] * (x.ndim - 2) + [(0, x.shape[-2] % 2), (0, x.shape[-1] % 2)])
    left, right = x[..., ::2], x[..., 1::2]
    sums: Doubles = (left[..., ::2, :] + left[..., 1::2, :]) + (right[..., ::2, :] + right[..., 1::2, :])
    return sums


def _enlarged(x: Doubles, shape: tuple[int, ...]) -> Doubles:
    """[C,h,w] at twice the size, cut to `shape` (height, width): linear between the centres of pixels."""
    for axis in (1, 2):
        near = 0.75 * x
        size = x.shape[axis]
        places = np.arange(size)
        before = near + 0.25 * x.take(np.maximum(places - 1, 0), axis)
        after = near + 0.25 * x.take(np.minimum(places + 1, size - 1), axis)
        pairs = np.stack([before, after], axis + 1)
        x = pairs.reshape(*x.shape[:axis], 2 * size, *x.shape[axis + 1 :])
    return x[:, : shape[0], : shape[1]]
