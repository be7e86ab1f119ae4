"""Pack photos and outlines for a training machine without a network: `python -m moebius_edge.training.pack`.

Photos are stored at the largest size that training uses, so that a few dozen megabytes hold a thousand.
"""

import argparse
import csv
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from moebius_edge.common.errors import InvalidInput
from moebius_edge.common.explain import explained
from moebius_edge.photos.reading import photo_files
from moebius_edge.training.photos import CREDITS, SCALES, load_rgb, photo_sources

PHOTOS, OUTLINES = "photos", "outlines"  # folders of a pack


@dataclass(frozen=True)
class Packing:
    """How photos are stored."""

    short_side: int = SCALES[-1]  # pixels; larger photos are made smaller
    quality: int = 72  # of WebP, 0 to 100


def pack_photo(source: Path, target: Path, packing: Packing) -> int:
    """Write one photo as WebP and return its size in bytes.

    It is upright, its short side at most `packing.short_side` pixels.
    """
    photo = load_rgb(source)
    scale = packing.short_side / min(photo.size)
    if scale < 1:
        width, height = (round(side * scale) for side in photo.size)
        photo = photo.resize((width, height), Image.Resampling.LANCZOS)
    photo.save(target, quality=packing.quality, method=4)
    return target.stat().st_size


def pack(folders: list[Path], outlines: Path, output: Path, packing: Packing) -> int:
    """Fill the folder `output` with the photos of all folders and the outlines; returns the size in bytes.

    Raises `InvalidInput` if `output` has something in it or a folder holds no photo.
    """
    if output.exists() and any(output.iterdir()):
        raise InvalidInput(f"{output} is not empty; name a new folder")
    for name in (PHOTOS, OUTLINES):
        (output / name).mkdir(parents=True)
    photos = [path for folder in folders for path in photo_files(folder)]
    targets = [output / PHOTOS / f"{index:04}.webp" for index in range(len(photos))]
    with ThreadPoolExecutor() as pool:
        total = sum(pool.map(lambda source, target: pack_photo(source, target, packing), photos, targets))
    _write_sources(output / PHOTOS / CREDITS, dict(zip(targets, photos, strict=True)))
    for path in photo_files(outlines):
        (output / OUTLINES / path.name).write_bytes(path.read_bytes())
        total += path.stat().st_size
    return total


def _write_sources(path: Path, photos: dict[Path, Path]) -> None:
    """Write where each packed photo came from: its sampling weight depends on it."""
    known = {folder: photo_sources(folder) for folder in {source.parent for source in photos.values()}}
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter="\t")
        writer.writerow(["file", "source"])
        for target, source in photos.items():
            writer.writerow([target.name, known[source.parent].get(source.name, "")])


def main(arguments: list[str] | None = None) -> None:
    """Run the command with these arguments; None: those of the process."""
    formatter = argparse.ArgumentDefaultsHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("--photos", type=Path, nargs="+", required=True, help="folders of training photos")
    parser.add_argument("--masks", type=Path, required=True, help="folder of outlines of objects")
    parser.add_argument("--output", type=Path, required=True, help="new folder")
    parser.add_argument("--short-side", type=int, default=Packing.short_side, help="pixels at most")
    parser.add_argument("--quality", type=int, default=Packing.quality, help="of WebP, 0 to 100")
    given = parser.parse_args(arguments)
    with explained():
        total = pack(given.photos, given.masks, given.output, Packing(given.short_side, given.quality))
    print(f"{given.output}: {total / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
