"""Measure what each part of the composition changes: `python -m moebius_edge.training.removal ...`.

Measured are photos with holes whose truth is known, and the two samples of the package, whose object is to
go. One sample per hole, seed 0. The rows go from the loop as it was to the loop as it is, one change after
another; with `--vary guidance 1 1.5 2` they are the loop as it is with these values of an option.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table

from moebius_edge.checking.verify import region_db
from moebius_edge.common.errors import InvalidInput
from moebius_edge.common.explain import explained
from moebius_edge.common.samples import SAMPLES, sample
from moebius_edge.inpaint.imaging import Bools, Bytes, Photo
from moebius_edge.inpaint.masks import draw_mask
from moebius_edge.inpaint.morphology import bounding_box, grow
from moebius_edge.inpaint.options import InpaintOptions
from moebius_edge.inpainter import Inpainter
from moebius_edge.photos.reading import photo_files, read_mask, read_photo
from moebius_edge.training.cases import read_silhouettes

SIZES = (0.15, 0.35)  # of a hole's longer side, in units of the photo's short side
REACH = 8  # pixels between the two of a pair across the border: the default feather
FIRST: dict[str, Any] = {"margin": 0.25, "guidance": 2.0, "strength": 0.99, "blend": "feather", "refine": 0.0}


@dataclass(frozen=True)
class Setting:
    """One row: options of the edit."""

    name: str
    options: dict[str, Any]


SETTINGS = (
    Setting("margin 0.25, guidance 2, strength 0.99, feather, one pass", FIRST),
    Setting("margin 1", FIRST | {"margin": 1.0}),
    Setting("the bundle's guidance", {"strength": 0.99, "blend": "feather", "refine": 0.0}),
    Setting("harmonic blend", {"strength": 0.99, "refine": 0.0}),
    Setting("the bundle's strength", {"refine": 0.0}),
    Setting("a second, closer pass: as it is", {}),
)


@dataclass(frozen=True)
class Case:
    """A photo with a hole."""

    name: str
    photo: Photo
    mask: Bools  # [H,W]
    truth: bool  # whether what is under the mask is what should come


def cases(photos: Path, masks: Path | None, count: int, seed: int = 0) -> Iterator[Case]:
    """Yield the samples, then `count` photos of a folder with holes.

    The photos come by name, each with one hole of each of `SIZES`, somewhere. `masks`: a folder of
    silhouettes (white on black) to take at random; None draws blobs. Raises InvalidInput for a folder without
    pictures.
    """
    for name in SAMPLES:
        photo_path, mask_path = sample(name)
        photo = read_photo(photo_path)
        yield Case(name, photo, read_mask(mask_path, photo.size).hole, False)
    rng = np.random.default_rng(seed)
    shapes = read_silhouettes(masks) if masks else None
    for path in photo_files(photos)[:count]:
        photo = read_photo(path)
        for part in SIZES:
            shape = shapes[int(rng.integers(len(shapes)))] if shapes else draw_mask(rng, 256, kind="blob")
            yield Case(f"{path.stem} {part:g}", photo, _placed(rng, shape, photo.size, part), True)


def _placed(rng: np.random.Generator, shape: Bools, size: tuple[int, int], part: float) -> Bools:
    """Return a mask for a photo of `size` with the shape at a random place inside it.

    The shape's longer side is `part` of the photo's short side.
    """
    left, top, right, bottom = bounding_box(shape)
    scale = part * min(size) / max(right - left, bottom - top)
    small = Image.fromarray(shape).crop((left, top, right, bottom))
    small = small.resize((max(round(scale * small.width), 1), max(round(scale * small.height), 1)))
    mask = Image.new("1", size)
    place = [int(rng.integers(0, long - short + 1)) for long, short in zip(size, small.size, strict=True)]
    mask.paste(small, (place[0], place[1]))
    return np.asarray(mask)


def edit(inpainter: Inpainter, case: Case, setting: Setting) -> Bytes:
    """Make one edit, [H,W,3]."""
    mask = case.mask.astype(np.uint8) * np.uint8(255)
    return np.asarray(inpainter(case.photo.rgb, mask, **setting.options))


def rim_contrast(result: Bytes, mask: Bools, truth: Bytes | None) -> float:
    """Measure how much neighbours differ across the mask's border: 1 is as much as in a photo without one.

    The mean over pairs `REACH` rows or columns apart, one in the mask and one outside, divided by that of the
    same pairs in `truth`, or, where it is not known, by that of pairs which both lie just outside the mask.
    `result`, `truth` [H,W,3], `mask` [H,W].
    """
    around = grow(mask, 3 * REACH) & ~mask
    across, usual = [], []
    for axis in (0, 1):
        one, other = _pairs(mask, axis)
        step = _differences(result, axis)
        across.append(step[one != other])
        if truth is None:
            usual.append(step[np.logical_and(*_pairs(around, axis))])
        else:
            usual.append(_differences(truth, axis)[one != other])
    return float(np.concatenate(across).mean() / max(np.concatenate(usual).mean(), 1e-6))


def _pairs(values: NDArray[Any], axis: int) -> tuple[NDArray[Any], NDArray[Any]]:
    along = np.moveaxis(values, axis, 0)
    return along[:-REACH], along[REACH:]


def _differences(picture: Bytes, axis: int) -> NDArray[np.float64]:
    """Return the mean absolute difference of the channels of each pair."""
    one, other = _pairs(picture.astype(np.float64), axis)
    difference: NDArray[np.float64] = np.abs(one - other).mean(axis=-1)
    return difference


def varied(name: str, *values: str) -> tuple[Setting, ...]:
    """Return a row for each value of one numeric option: the loop as it is, with that value.

    Raises InvalidInput for another option.
    """
    kind = type(getattr(InpaintOptions(), name, None))
    if kind not in (int, float) or not values:
        raise InvalidInput(f"--vary {name}: expected the name of a numeric option and its values")
    try:
        return tuple(Setting(f"{name} {value}", {name: kind(value)}) for value in values)
    except ValueError as error:
        raise InvalidInput(f"--vary {name}: {error}") from error


def compare_settings(
    inpainter: Inpainter, found: list[Case], settings: Sequence[Setting] = SETTINGS
) -> Table:
    """Return a table, a row per setting: means over photos with a known truth, and each sample's border."""
    known = [case for case in found if case.truth]
    samples = [case for case in found if not case.truth]
    heads = ("PSNR in the hole, dB", "rim contrast", *(f"rim contrast, {case.name}" for case in samples))
    table = Table("setting", *heads)
    for setting in settings:
        scores, ratios = [], []
        for case in known:
            result, truth = edit(inpainter, case, setting), case.photo.rgb
            scores.append(region_db(result, truth, case.mask))
            ratios.append(rim_contrast(result, case.mask, truth))
        alone = [rim_contrast(edit(inpainter, case, setting), case.mask, None) for case in samples]
        numbers = (float(np.mean(scores)), float(np.mean(ratios)), *alone)
        table.add_row(setting.name, *(f"{number:.2f}" for number in numbers))
    return table


def sheet(inpainter: Inpainter, found: list[Case], side: int = 300) -> Image.Image:
    """Draw each case in a row: the surroundings of the hole, and what each setting makes of them.

    `side`: of a tile, in pixels.
    """
    rows = []
    for case in found:
        left, top, right, bottom = bounding_box(case.mask)
        reach = max(right - left, bottom - top)
        box = ((left + right) // 2 - reach, (top + bottom) // 2 - reach, (left + right) // 2 + reach,
               (top + bottom) // 2 + reach)  # fmt: skip
        pictures = [case.photo.rgb, *(edit(inpainter, case, setting) for setting in SETTINGS)]
        rows.append([Image.fromarray(each).crop(box).resize((side, side)) for each in pictures])
    result = Image.new("RGB", (side * len(rows[0]), side * len(rows)))
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            result.paste(picture, (x * side, y * side))
    return result


def main(arguments: list[str] | None = None) -> None:
    """Run the script with these command-line arguments; None: those of the process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument(
        "--photos", type=Path, required=True, help="folder of photos that nothing was trained on"
    )
    parser.add_argument("--masks", type=Path, help="folder of silhouettes, white on black; default: blobs")
    parser.add_argument("--count", type=int, default=12, help="how many photos, each with two holes")
    parser.add_argument("--vary", nargs="+", metavar=("OPTION", "VALUE"), help="an option and its values")
    parser.add_argument("--sheet", type=Path, help="picture to write: the samples and four photos")
    given = parser.parse_args(arguments)
    with explained():
        settings = varied(*given.vary) if given.vary else SETTINGS
        inpainter = Inpainter.load(given.bundle, low_memory=False)
        found = list(cases(given.photos, given.masks, given.count))
        Console(width=140).print(compare_settings(inpainter, found, settings))
        if given.sheet is not None:
            sheet(inpainter, found[: len(SAMPLES) + 4]).save(given.sheet)


if __name__ == "__main__":
    main()
