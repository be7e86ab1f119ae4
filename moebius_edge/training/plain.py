"""Fills without a model, to compare with, and a correction of any fill's border. Pictures: uint8 [H,W,3]."""

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
    inner = binary_erosion(mask, border_value=1)  # the picture's own edge is no rim: nothing flows across it
    correction = np.where((mask & ~inner)[..., None], outside - inside, 0.0)
    correction[inner] = _continued(correction[mask], mask, inner[mask])
    corrected = np.clip(np.rint(fill + correction), 0, 255).astype(np.uint8)
    result: Pixels = np.where(mask[..., None], corrected, photo)
    return result


def _continued(values: Floats, mask: Mask, free: Mask) -> Floats:
    """Of `values` [n,3], one per pixel of the hole, those that are given continued to those that are `free`
    [n]: [m,3], each the mean of its neighbours in the hole."""
    number = np.cumsum(mask).reshape(mask.shape) - 1
    across, down = mask[:, :-1] & mask[:, 1:], mask[:-1] & mask[1:]
    first = np.concatenate([number[:, :-1][across], number[:-1][down]])
    second = np.concatenate([number[:, 1:][across], number[1:][down]])
    places = np.concatenate([first, second]), np.concatenate([second, first])
    neighbours = sparse.csr_array((np.ones(2 * len(first)), places), shape=(len(values),) * 2)
    rows = (sparse.diags_array(neighbours.sum(axis=1)) - neighbours).tocsr()[free]
    if not free.any():
        return np.zeros((0, values.shape[1]))
    solution: Floats = sparse.linalg.splu(rows[:, free].tocsc()).solve(-(rows[:, ~free] @ values[~free]))
    return solution
