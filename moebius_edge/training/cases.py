"""Make the cases that a checkpoint is judged on: squares of held-out photos, and for each three seeded holes.

A hole depends on the seed, on the photo's place in the list and on the round, on nothing else: not on how
many cases are run, and not on the machine. The silhouettes come from a folder; without one, drawn blobs stand
in.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from moebius_edge.common.errors import InvalidInput
from moebius_edge.inpaint.masks import TRIES, draw_mask
from moebius_edge.inpaint.morphology import grow
from moebius_edge.training.metrics import SIDE, evaluation_squares

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]

KINDS = ("object", "strokes", "box")
AREA = (0.05, 0.4)  # of a hole, as a fraction of the square
SLACK = (2, 5)  # pixels at a side of 256, least and most, by which people overshoot an object's outline
SEED = 2026


@dataclass(frozen=True)
class Cases:
    """Photos with holes. Case i shows photo `places[i]`."""

    names: list[str]  # of the photos
    squares: Pixels  # uint8 [P,S,S,3]
    places: list[int]
    kinds: list[str]
    masks: list[Mask]  # bool [S,S] each, True = hole

    @property
    def photos(self) -> Pixels:
        """The photo of every case, uint8 [N,S,S,3]."""
        return self.squares[self.places]

    @property
    def shown(self) -> list[str]:
        """The photo's name, per case."""
        return [self.names[place] for place in self.places]

    def described(self) -> list[dict[str, Any]]:
        """Return for each case the photo's name, the kind of hole and its fraction of the area."""
        areas = [float(mask.mean()) for mask in self.masks]
        cases = zip(self.shown, self.kinds, areas, strict=True)
        return [{"photo": photo, "kind": kind, "area": area} for photo, kind, area in cases]


def make_cases(
    folders: Sequence[Path], silhouettes: Path | None = None, count: int | None = None, side: int = SIDE
) -> Cases:
    """Make the first `count` cases; None: three per photo.

    They go from photo to photo, the kinds of holes taking turns. `silhouettes`: a folder of PNG files, white
    on black. `side`: of the squares, in pixels. Raises `InvalidInput` for a folder without photos or
    silhouettes and for a count below 1.
    """
    names, squares = evaluation_squares(*folders, side=side)
    count = len(KINDS) * len(names) if count is None else count
    if count < 1:
        raise InvalidInput(f"{count} cases; expected at least 1")
    outlines = None if silhouettes is None else read_silhouettes(silhouettes)
    places, kinds, masks = [], [], []
    for index in range(count):
        turn, place = divmod(index, len(names))
        kind = KINDS[(place + turn) % len(KINDS)]
        rng = np.random.default_rng([SEED, place, turn])
        places.append(place)
        kinds.append(kind)
        masks.append(draw_hole(rng, side, kind, outlines))
    return Cases(names, squares, places, kinds, masks)


def draw_hole(rng: np.random.Generator, side: int, kind: str, outlines: list[Mask] | None) -> Mask:
    """Draw a hole of that kind, bool [side,side], covering 5 to 40 % of the square.

    `kind` is one of `KINDS`. An "object" is one of the outlines, or a blob if these are None.
    """
    if kind != "object":
        return draw_mask(rng, side, AREA, kind)
    return draw_mask(rng, side, AREA, "blob") if outlines is None else draw_object(rng, side, outlines)


def read_silhouettes(folder: Path) -> list[Mask]:
    """Read the PNG files of a folder, by name, as bool arrays cut to what is white.

    Raises `InvalidInput` for a file that cannot be read or is black, and for a folder without PNG files.
    """
    found = []
    for path in sorted(folder.glob("*.png")):
        try:
            with Image.open(path) as image:
                pixels = np.asarray(image.convert("L")) > 127
        except (UnidentifiedImageError, OSError) as error:
            raise InvalidInput(f"cannot read the silhouette {path}: {error}") from error
        rows, columns = np.flatnonzero(pixels.any(1)), np.flatnonzero(pixels.any(0))
        if len(rows) == 0:
            raise InvalidInput(f"{path} is black; expected a white silhouette on black")
        found.append(pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    if not found:
        raise InvalidInput(f"{folder} holds no silhouette; expected PNG files, white on black")
    return found


def draw_object(rng: np.random.Generator, side: int, outlines: list[Mask]) -> Mask:
    """Draw one of the outlines, mirrored or not, scaled to an area drawn uniformly, grown by some slack.

    All of it is inside the picture. Of `TRIES` drawings the first within `AREA` is taken; a blob if none is,
    which happens with outlines too thin for 5 %.
    """
    for _ in range(TRIES):
        outline = outlines[rng.integers(len(outlines))]
        if rng.random() < 0.5:
            outline = outline[:, ::-1]
        slack = round(int(rng.integers(SLACK[0], SLACK[1] + 1)) * side / 256)
        room = side - 2 * slack
        scale = side * np.sqrt(rng.uniform(*AREA) / np.count_nonzero(outline))
        scale = min(float(scale), room / max(outline.shape))
        height, width = (max(1, int(length * scale)) for length in outline.shape)
        top, left = (slack + int(rng.integers(room - length + 1)) for length in (height, width))
        mask = np.zeros((side, side), dtype=bool)
        # Nearest pixel, in whole numbers: no library's resampling decides what the hole is.
        rows, columns = (
            (2 * np.arange(new) + 1) * old // (2 * new)
            for new, old in zip((height, width), outline.shape, strict=True)
        )
        mask[top : top + height, left : left + width] = outline[np.ix_(rows, columns)]
        mask = grow(mask, slack)
        if AREA[0] <= mask.mean() <= AREA[1]:
            return mask
    return draw_mask(rng, side, AREA, "blob")
