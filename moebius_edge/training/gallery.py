"""Show removals next to a classical fill: `python -m moebius_edge.training.gallery BUNDLE --photos DIR`.

DIR holds photos, NAME.jpg (or PNG, WebP), each with the object to be removed in NAME-mask.png, white. For
each, OUTPUT/NAME.jpg shows four tiles: the photo with the object outlined and the bundle's edit at its
default options; below them the biharmonic fill of scikit-image and the place of the edit, closer. The edit is
made at the photo's own size; the biharmonic fill, which takes minutes for large holes, at the tile's, where
it is looked at.
"""

import argparse
import io
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from moebius_edge.common.errors import InvalidInput
from moebius_edge.common.explain import explained
from moebius_edge.common.files import write_atomically
from moebius_edge.common.progress import counted
from moebius_edge.inpaint.outline import outlined
from moebius_edge.inpainter import Inpainter
from moebius_edge.photos.reading import photo_files, read_mask, read_photo
from moebius_edge.training.plain import biharmonic_fill

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]

MASK = "-mask"  # a mask's file is called like its photo's, with this behind
OUTLINE = (255, 0, 160)  # RGB: rare in photos
LINE = 2  # pixels
GAP = 8  # white pixels between tiles
AROUND = 0.25  # what the closer tile shows on each side of the hole, in units of the hole
QUALITY = 85  # of the JPEGs


@dataclass(frozen=True)
class Row:
    """One removal and its picture of four tiles."""

    name: str
    seconds: float  # of the edit, all graphs loaded on the way
    picture: Image.Image


def find_pairs(folder: Path) -> list[tuple[Path, Path]]:
    """Return the photos of a folder with their masks, by name.

    Raises `InvalidInput` for a photo without a mask.
    """
    photos = [path for path in photo_files(folder) if not path.stem.endswith(MASK)]
    pairs = [(path, path.with_name(f"{path.stem}{MASK}.png")) for path in photos]
    if missing := [mask.name for _, mask in pairs if not mask.is_file()]:
        raise InvalidInput(
            f"{folder} has no {', '.join(missing)}; every photo needs its mask, white = remove"
        )
    return pairs


def shrink(photo: Pixels, mask: Mask, longest: int) -> tuple[Pixels, Mask]:
    """Scale photo and mask so that neither side is longer than `longest` pixels.

    Every pixel that the mask touches belongs to the smaller mask.
    """
    height, width = mask.shape
    scale = min(1.0, longest / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = Image.fromarray(photo).resize(size, Image.Resampling.LANCZOS)
    touched = Image.fromarray(mask.astype(np.uint8) * 255).resize(size, Image.Resampling.BOX)
    return np.asarray(small), np.asarray(touched) > 0


def close_up(picture: Pixels, mask: Mask) -> Pixels:
    """Cut out the hole and a little around it.

    The window has the shape of the picture and is enlarged to its size.
    """
    height, width = mask.shape
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    tall, wide = rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
    part = min(1.0, (1 + 2 * AROUND) * max(tall / height, wide / width))
    size = (max(1, round(width * part)), max(1, round(height * part)))
    left, top = (
        min(max(0, (places[0] + places[-1] + 1 - length) // 2), whole - length)
        for places, length, whole in zip((columns, rows), size, (width, height), strict=True)
    )
    window = Image.fromarray(picture[top : top + size[1], left : left + size[0]])
    return np.asarray(window.resize((width, height), Image.Resampling.BICUBIC))


def grid(tiles: list[Pixels]) -> Image.Image:
    """Put four tiles of one size together, two by two."""
    height, width, _ = tiles[0].shape
    sheet = np.full((2 * height + GAP, 2 * width + GAP, 3), 255, dtype=np.uint8)
    for number, tile in enumerate(tiles):
        top, left = number // 2 * (height + GAP), number % 2 * (width + GAP)
        sheet[top : top + height, left : left + width] = tile
    return Image.fromarray(sheet)


def make_row(inpainter: Inpainter, photo_path: Path, mask_path: Path, tile: int) -> Row:
    """Make one removal and its four tiles, each at most `tile` pixels long.

    The tiles are the photo, the edit, the biharmonic fill and a close-up of the edit.
    """
    photo = read_photo(photo_path)
    mask = read_mask(mask_path, photo.size).hole
    start = time.perf_counter()
    edit = np.asarray(inpainter(photo_path, mask_path).convert("RGB"))
    seconds = time.perf_counter() - start
    small, hole = shrink(photo.rgb, mask, tile)
    pictures = [shrink(picture, mask, tile)[0] for picture in (edit, close_up(edit, mask))]
    tiles = [outlined(small, hole, LINE, OUTLINE), pictures[0], biharmonic_fill(small, hole), pictures[1]]
    return Row(photo_path.stem, seconds, grid(tiles))


def save(row: Row, folder: Path) -> None:
    """Write the picture of a row as FOLDER/NAME.jpg."""
    buffer = io.BytesIO()
    row.picture.save(buffer, format="JPEG", quality=QUALITY, optimize=True)
    write_atomically(folder / f"{row.name}.jpg", buffer.getvalue())


def gallery(given: argparse.Namespace) -> None:
    """Do what the command's arguments ask for."""
    pairs = find_pairs(given.photos)
    inpainter = Inpainter.load(given.bundle)
    given.output.mkdir(parents=True, exist_ok=True)
    for photo_path, mask_path in counted(pairs, "removing"):
        row = make_row(inpainter, photo_path, mask_path, given.tile)
        save(row, given.output)
        print(f"{given.output / row.name}.jpg: {row.seconds:.1f} s", flush=True)


def main(arguments: list[str] | None = None) -> None:
    """Run the command with these arguments; None: those of the process."""
    formatter = argparse.ArgumentDefaultsHelpFormatter
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n", maxsplit=1)[0], formatter_class=formatter
    )
    parser.add_argument("bundle", type=Path, help="folder of an exported bundle")
    parser.add_argument("--photos", type=Path, required=True, help="folder of NAME.jpg with NAME-mask.png")
    parser.add_argument("--output", type=Path, default=Path("gallery"), help="folder for the pictures")
    parser.add_argument("--tile", type=int, default=640, help="longest side of a tile in pixels")
    given = parser.parse_args(arguments)
    with explained():
        gallery(given)


if __name__ == "__main__":
    main()
