"""What a precision costs: `python -m moebius_edge.calibration.evaluate FP32 BUNDLE... --photos DIR`.

Every photo of the folder is edited with several seeded masks by the FP32 bundle and by each of the others.
*Picture*: PSNR against the FP32 bundle's result inside the hole, peak 255. *Denoiser*: the guided noise for
the FP32 bundle's own latents, peak = range of the FP32 noise. dB; mean over all, and the worst.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from moebius_edge.bundle import Bundle
from moebius_edge.calibration.data import AREA, photo_files, squares
from moebius_edge.capsule import Recorder
from moebius_edge.errors import InvalidInput, MoebiusError
from moebius_edge.inpainter import Inpainter
from moebius_edge.parity import compare
from moebius_edge.tensors import Array
from moebius_edge.training.masks import draw_mask

EVERY = 3  # of the loop's steps one in so many is compared

Case = tuple[NDArray[np.uint8], NDArray[np.bool_]]


@dataclass(frozen=True)
class Cost:
    """Of one bundle against the FP32 bundle."""

    bundle: str
    precision: str
    picture_db: float
    picture_worst_db: float
    denoiser_db: float
    denoiser_worst_db: float
    denoiser_bytes: int


@dataclass(frozen=True)
class Truth:
    """What the FP32 bundle did in one case."""

    picture: NDArray[np.uint8]
    steps: list[tuple[dict[str, Array], Array]]  # inputs of the denoiser, and its noise


def cases(folder: Path, side: int, masks: int, seed: int) -> Iterator[Case]:
    """Every photo's centred square with `masks` seeded masks each."""
    rng = np.random.default_rng(seed)
    for photo in squares(photo_files(folder), side):
        for _ in range(masks):
            yield photo, draw_mask(rng, side, AREA)


def edit(inpainter: Inpainter, case: Case) -> NDArray[np.uint8]:
    """The finished picture."""
    return np.asarray(inpainter(*case, margin=0.0))


def truth(inpainter: Inpainter, case: Case) -> Truth:
    """The FP32 bundle's edit with what went through its denoiser."""
    runtime = inpainter.runtime
    inpainter.runtime = recorder = Recorder(runtime)
    try:
        picture = edit(inpainter, case)
    finally:
        inpainter.runtime = runtime
    steps = [(inputs, outputs["noise"]) for inputs, outputs in recorder.calls["denoiser"][::EVERY]]
    return Truth(picture, steps)


def costs(reference: Path, bundles: Sequence[Path], folder: Path, masks: int, seed: int) -> Iterator[Cost]:
    """One row per bundle. Raises InvalidInput when `reference` is not FP32, or of another model."""
    base = Bundle.open(reference).manifest
    if base.precision != "fp32":
        raise InvalidInput(f"{reference} is {base.precision}; the first bundle must be fp32")
    fp32 = Inpainter.load(reference, low_memory=False)
    pairs = list(cases(folder, fp32.resolution, masks, seed))
    stderr = Console(stderr=True)
    truths = [truth(fp32, case) for case in track(pairs, "fp32", console=stderr, transient=True)]
    for path in bundles:
        manifest = Bundle.open(path).manifest
        if manifest.model.weights_sha256 != base.model.weights_sha256:
            raise InvalidInput(f"{path} and {reference} were made from other weights; export both again")
        inpainter = Inpainter.load(path, low_memory=False)
        pictures, noises = [], []
        both = list(zip(pairs, truths, strict=True))
        for case, expected in track(both, path.name, console=stderr, transient=True):
            mask = case[1]
            found = edit(inpainter, case)
            pictures.append(compare(found[mask], expected.picture[mask], peak=255).db)
            for inputs, noise in expected.steps:
                noises.append(compare(inpainter.runtime.run("denoiser", inputs)["noise"], noise).db)
        yield Cost(
            bundle=path.name,
            precision=manifest.precision,
            picture_db=float(np.mean(pictures)),
            picture_worst_db=min(pictures),
            denoiser_db=float(np.mean(noises)),
            denoiser_worst_db=min(noises),
            denoiser_bytes=sum(
                entry.size for name, entry in manifest.files.items() if name.startswith("denoiser")
            ),
        )


def main(arguments: list[str] | None = None) -> None:
    """Entry point; exit code 2 for what cannot be used."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("reference", type=Path, help="an FP32 bundle")
    parser.add_argument("bundles", type=Path, nargs="+", help="bundles of the same model")
    parser.add_argument("--photos", type=Path, required=True, help="folder of photos, not calibrated on")
    parser.add_argument("--masks", type=int, default=10, help="per photo")
    parser.add_argument("--seed", type=int, default=0, help="of the masks")
    parser.add_argument("--json", action="store_true", help="one JSON list and nothing else")
    given = parser.parse_args(arguments)
    table = Table("bundle", "precision", "picture, dB (worst)", "denoiser, dB (worst)", "denoiser file, MB")
    rows = []
    try:
        for row in costs(given.reference, given.bundles, given.photos, given.masks, given.seed):
            rows.append(asdict(row))
            table.add_row(
                row.bundle,
                row.precision,
                f"{row.picture_db:.1f} ({row.picture_worst_db:.1f})",
                f"{row.denoiser_db:.1f} ({row.denoiser_worst_db:.1f})",
                f"{row.denoiser_bytes / 1e6:.1f}",
            )
    except MoebiusError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    finally:  # bundles before one that failed took minutes
        if given.json and rows:
            print(json.dumps(rows))
        elif rows:
            Console(width=110).print(table)


if __name__ == "__main__":
    main()
