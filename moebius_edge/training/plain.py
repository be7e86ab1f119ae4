"""Fills without a model, to compare with, and a correction of any fill's border. Pictures: uint8 [H,W,3]."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.ndimage import binary_erosion, gaussian_filter
from skimage.restoration import inpaint_biharmonic

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]

RIM_SIGMA = 2.5  # pixels: the low-pass of both sides of the rim


def mean_fill(photo: Pixels, mask: Mask) -> Pixels:
    """The hole in the mean colour of the rest."""
    filled = photo.copy()
    filled[mask] = np.round(photo[~mask].mean(axis=0)).astype(np.uint8)
    return filled


def biharmonic_fill(photo: Pixels, mask: Mask) -> Pixels:
    """The hole as the smoothest surface through its border (scikit-image)."""
    filled = inpaint_biharmonic(photo, mask, channel_axis=-1) * 255.0
    result: Pixels = np.clip(np.round(filled), 0, 255).astype(np.uint8)
    return result


def harmonic_correction(photo: Pixels, fill: Pixels, mask: Mask) -> Pixels:
    """`fill` plus the step at its rim, photo outside minus fill inside, continued into the hole by Laplace's
    equation (Perez et al. 2003, with the fill as guidance): a plain reference, exact and slow."""
    weights = np.stack([~mask, mask]).astype(float)
    outside, inside = (
        gaussian_filter(picture * weight[..., None], (RIM_SIGMA, RIM_SIGMA, 0))
        / np.maximum(gaussian_filter(weight, RIM_SIGMA), 1e-6)[..., None]
        for picture, weight in zip((photo.astype(float), fill.astype(float)), weights, strict=True)
    )
    rim, inner, solve = _laplace(mask.tobytes(), mask.shape)
    correction = np.zeros(photo.shape)
    correction[rim] = (outside - inside)[rim]
    correction[inner] = solve(correction[mask])
    result: Pixels = np.where(mask[..., None], np.clip(np.rint(fill + correction), 0, 255), photo).astype(
        np.uint8
    )
    return result


@lru_cache(maxsize=2)  # several fills of one hole follow each other
def _laplace(data: bytes, shape: tuple[int, int]):  # type: ignore[no-untyped-def]
    """Of a mask's bytes: its rim, the rest of it, and what continues values [n,3] of the rim to the rest."""
    mask = np.frombuffer(data, dtype=bool).reshape(shape)
    inner = binary_erosion(mask, border_value=1)  # the picture's own edge is no rim: nothing flows across it
    number = np.cumsum(mask).reshape(shape) - 1
    pairs = [(number[:, :-1], number[:, 1:], mask[:, :-1] & mask[:, 1:])]
    pairs.append((number[:-1], number[1:], mask[:-1] & mask[1:]))
    first = np.concatenate([a[both] for a, _, both in pairs])
    second = np.concatenate([b[both] for _, b, both in pairs])
    ones, count = np.ones(2 * len(first)), int(mask.sum())
    places = np.concatenate([first, second]), np.concatenate([second, first])
    neighbours = sparse.csr_array((ones, places), shape=(count, count))
    laplacian = sparse.diags_array(neighbours.sum(axis=1)) - neighbours
    free = inner[mask]
    rows = laplacian.tocsr()[free]
    factors = sparse.linalg.splu(rows[:, free].tocsc()) if free.any() else None

    def solve(values: Floats) -> Floats:
        if factors is None:
            return np.zeros((0, values.shape[1]))
        return factors.solve(-(rows[:, ~free] @ values[~free]))

    return mask & ~inner, inner, solve
