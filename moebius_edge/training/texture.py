"""Measure whether fills have the texture of photos: sliced Wasserstein distance of Laplacian-pyramid patches.

Karras et al., "Progressive growing of GANs", arXiv 1710.10196, section 5: patches of 7x7 pixels from each
level of a Laplacian pyramid (Burt & Adelson 1983) of two sets of pictures, normalised by the mean and the
standard deviation of each colour channel, are compared by random projections: in one dimension the
Wasserstein distance is the mean difference of the sorted values (Rabin et al. 2011). Levels end at 16 pixels.
Here the patches are those whose centre lies in a hole, over all cases; photo and fill give patches at the
same places. The fewer patches, the larger the distance of whatever is not the same: compare equal cases.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import convolve1d

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

PATCH = 7  # pixels along a side
PER_CASE = 256  # patches of one hole and level, at most: a large hole must not outvote the others
DIRECTIONS = 512  # random projections
COARSEST = 16  # pixels along a side of the last level
SCALE = 1000.0  # distances are given in thousandths, as in the paper
KERNEL = np.array([1, 4, 6, 4, 1], dtype=np.float32) / 16  # Burt & Adelson's, a = 0.375


def _smooth(picture: Floats, gain: float = 1.0) -> Floats:
    rows: Floats = convolve1d(picture, gain * KERNEL, axis=0, mode="mirror")
    both: Floats = convolve1d(rows, gain * KERNEL, axis=1, mode="mirror")
    return both


def laplacian_pyramid(picture: Floats) -> list[Floats]:
    """Split a picture [S,S,3] into levels: the detail at S, S/2, ... pixels, last the rest, [16,16,3]."""
    levels, rest = [], picture
    while rest.shape[0] >= 2 * COARSEST:
        smaller = _smooth(rest)[::2, ::2]
        spread = np.zeros_like(rest)
        spread[::2, ::2] = smaller
        levels.append(rest - _smooth(spread, 2.0))  # three of four pixels of `spread` are 0: twice per axis
        rest = smaller
    return [*levels, rest]


def hole_patches(pictures: Sequence[NDArray[np.uint8]], masks: Sequence[Mask], seed: int = 0) -> list[Floats]:
    """Return the patches of all cases in grey levels, [n,7,7,3] for each level, finest first.

    `pictures`, uint8 [S,S,3] each. A pixel of level l belongs to the hole if the full-size pixel on which it
    is centred does. Patches lie inside the picture. Which are drawn depends on the masks and the seed only.
    """
    margin = PATCH // 2
    drawn: list[list[Floats]] = []
    for case, (picture, mask) in enumerate(zip(pictures, masks, strict=True)):
        for level, detail in enumerate(laplacian_pyramid(picture.astype(np.float32))):
            step = 2**level
            inside = mask[::step, ::step][margin:-margin, margin:-margin]
            rows, columns = np.nonzero(inside)
            rng = np.random.default_rng([seed, case, level])
            picked = rng.permutation(len(rows))[:PER_CASE]
            windows = np.lib.stride_tricks.sliding_window_view(detail, (PATCH, PATCH), axis=(0, 1))
            if level == len(drawn):
                drawn.append([])
            drawn[level].append(windows[rows[picked], columns[picked]].transpose(0, 2, 3, 1))
    return [np.concatenate(level) for level in drawn]


def _projected(patches: Floats, like: Floats) -> Floats:
    """Turn patches [n,7,7,3] into sorted projections [512,n], normalised by the channels of `like`."""
    spread = like.std(axis=(0, 1, 2), dtype=np.float64)
    mean = like.mean(axis=(0, 1, 2), dtype=np.float64)
    normal = ((patches - mean) / np.where(spread > 0, spread, 1.0)).astype(np.float32)
    directions = np.random.default_rng(0).standard_normal((DIRECTIONS, PATCH * PATCH * 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    projections: Floats = directions.astype(np.float32) @ normal.reshape(len(patches), -1).T
    projections.sort(axis=1)
    return projections


def _spaced(length: int, count: int) -> NDArray[np.int64]:
    """Return `count` of `length` places, evenly spaced."""
    return np.arange(count) * length // count


class PhotoTexture:
    """The photos' patches, projected once: every kind of fill is compared with them."""

    def __init__(self, photos: Sequence[NDArray[np.uint8]], masks: Sequence[Mask]) -> None:
        self.masks = masks
        self.patches = hole_patches(photos, masks)
        self.projections = [_projected(level, level) for level in self.patches]

    def distances(self, fills: Sequence[NDArray[np.uint8]]) -> tuple[list[float], list[float]]:
        """Return two lists of distances of the fills to the photos, per level, finest first.

        In thousandths, 0 for the photos themselves. The first list normalises each set by itself, as the
        paper's code does: there fills of half the contrast are at distance 0 if they are alike otherwise. The
        second has the photos' mean and deviation for both.
        """
        alone: list[float] = []
        in_photo_units: list[float] = []
        levels = zip(hole_patches(fills, self.masks), self.patches, self.projections, strict=True)
        for found, photos, wanted in levels:
            for like, distances in ((found, alone), (photos, in_photo_units)):
                change = np.abs(_projected(found, like) - wanted)
                distances.append(SCALE * float(change.mean(dtype=np.float64)))
        return alone, in_photo_units

    def floor(self, photos: Sequence[NDArray[np.uint8]]) -> list[float]:
        """Return the distance of the photos to themselves, the holes turned by 180 degrees, per level.

        Patches of photos of the same things are so far apart; no fill need be closer than that.
        """
        levels = zip(
            hole_patches(photos, [mask[::-1, ::-1] for mask in self.masks]), self.patches, strict=True
        )
        distances = []
        for turned, straight in levels:
            count = min(len(turned), len(straight))  # at the picture's edge there are no patches
            first, second = (level[_spaced(len(level), count)] for level in (turned, straight))
            change = np.abs(_projected(first, first) - _projected(second, second))
            distances.append(SCALE * float(change.mean(dtype=np.float64)))
        return distances
