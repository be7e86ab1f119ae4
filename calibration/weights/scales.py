"""Fit integer grids to weights: symmetric, one scale per channel or per block, of least squared error."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from moebius_edge.common.tensors import Array

Bits = Literal[8, 4]
# 8 bits leave -128 out, so that the grid is symmetric; of 4 bits the sixteenth value is worth having.
RANGES: dict[Bits, tuple[int, int]] = {8: (-127, 127), 4: (-8, 7)}
# Scales to try, as shares of the one with which nothing is clipped; the best are below 0.9 for 4 bits only.
SHARES: dict[Bits, tuple[float, ...]] = {
    8: tuple(np.linspace(1.0, 0.8, 11).tolist()),
    4: tuple(np.linspace(1.05, 0.5, 23).tolist()),
}
SMALLEST_BLOCK = 16
# Scales of blocks would be a fifth of a 4-bit file as float32; the search sees how float16 rounds them.
SCALE_TYPES: dict[Bits, type[np.floating[Any]]] = {8: np.float32, 4: np.float16}
# What a row of zeros gets, and the largest.
SCALE_LIMITS: dict[type[np.floating[Any]], tuple[float, float]] = {
    np.float32: (2.0**-126, 3.4e38),
    np.float16: (2.0**-24, 65504.0),
}


@dataclass(frozen=True)
class Grid:
    """Weights [rows, n] as integers [rows, n] (int8) times a scale [rows] (float32) per row."""

    integers: NDArray[np.int8]
    scales: NDArray[np.float32]

    def values(self) -> NDArray[np.float32]:
        """Return the weights that an engine computes with, [rows, n]."""
        return self.integers.astype(np.float32) * self.scales[:, None]


def fit(rows: Array, bits: Bits, *, half: bool = False) -> Grid:
    """Fit the grid of least squared error over the candidates of `SHARES`, per row of `rows` [rows, n].

    `half`: scales are numbers of float16, as those of 4 bits always are. The error of a weight is at most
    half a scale, unless it lies beyond the end of the grid.
    """
    kind = np.float16 if half else SCALE_TYPES[bits]
    least, most = SCALE_LIMITS[kind]
    low, high = RANGES[bits]
    rows = np.ascontiguousarray(rows, np.float32)
    # Positive weights end at `high`; for 4 bits a negative one may reach one step further.
    whole = np.maximum(rows.max(axis=1) / high, rows.min(axis=1) / low).astype(np.float32)
    best = np.full(len(rows), np.inf, np.float32)
    scales = np.empty_like(whole)
    for share in SHARES[bits]:
        candidate = np.clip(whole * np.float32(share), least, most).astype(kind).astype(np.float32)
        error = rows - _integers(rows, candidate, bits) * candidate[:, None]
        squared = np.einsum("rn,rn->r", error, error)
        better = squared < best
        best[better], scales[better] = squared[better], candidate[better]
    return Grid(_integers(rows, scales, bits).astype(np.int8), scales)


def _integers(rows: NDArray[np.float32], scales: NDArray[np.float32], bits: Bits) -> NDArray[np.float32]:
    rounded: NDArray[np.float32] = np.clip(np.rint(rows / scales[:, None]), *RANGES[bits])
    return rounded


def per_channel(
    weight: Array, axis: int, bits: Bits, *, half: bool = False
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return integers of the shape of `weight` and scales [weight.shape[axis]]; `half` as in `fit`."""
    moved = np.moveaxis(weight, axis, 0)
    grid = fit(moved.reshape(len(moved), -1), bits, half=half)
    integers = np.moveaxis(grid.integers.reshape(moved.shape), 0, axis)
    return np.ascontiguousarray(integers), grid.scales


def block_of(length: int, block: int) -> int:
    """Choose the size of the blocks for an axis of `length`.

    It is `block`, or the largest divisor of `block` from 16 up that divides the axis, or else the whole axis.
    """
    common = math.gcd(length, block)
    return common if common >= SMALLEST_BLOCK else length


def blockwise(
    weight: Array, axis: int, block: int, bits: Bits
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return integers of the shape of `weight`, and scales of that shape with `axis` divided by `block`.

    One scale covers `block` neighbours along `axis`. Raises ValueError when `block` does not divide the axis.
    """
    moved = np.moveaxis(weight, axis, -1)
    if moved.shape[-1] % block:
        raise ValueError(f"blocks of {block} do not divide the axis {axis} of {list(weight.shape)}")
    grid = fit(moved.reshape(-1, block), bits)
    integers = np.moveaxis(grid.integers.reshape(moved.shape), -1, axis)
    scales = np.moveaxis(grid.scales.reshape(*moved.shape[:-1], -1), -1, axis)
    return np.ascontiguousarray(integers), np.ascontiguousarray(scales)


def pack_nibbles(unsigned: NDArray[np.uint8], *, halves: bool) -> NDArray[np.uint8]:
    """Pack numbers from 0 to 15, in C order, two to a byte; an odd count is padded with a zero.

    The low bits hold the even ones and the high bits the odd ones, as in ONNX; or, with `halves`, the first
    half and the second half, so that taking them apart needs no interleaving.
    """
    flat = unsigned.ravel()
    if flat.size % 2:
        flat = np.append(flat, np.uint8(0))
    middle = flat.size // 2
    low, high = (flat[:middle], flat[middle:]) if halves else (flat[0::2], flat[1::2])
    packed: NDArray[np.uint8] = low | np.left_shift(high, 4, dtype=np.uint8)
    return packed
