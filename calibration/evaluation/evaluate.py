"""Measure what a precision costs, in dB: `python -m moebius_edge.calibration.evaluation.evaluate`.

Every photo of the folder is edited with several seeded masks by the FP32 bundle and by each of the others.
*Picture*: PSNR against the FP32 bundle's result inside the hole, peak 255. *Denoiser*: the guided noise for
the FP32 bundle's own latents, peak = range of the FP32 noise. Both are in dB: the mean over all, and the
worst.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from moebius_edge.bundle.folder import Bundle
from moebius_edge.bundle.manifest import Manifest
from moebius_edge.calibration.activations.data import AREA, squares
from moebius_edge.checking.capsule import Recorder
from moebius_edge.checking.verify import compare, region_db
from moebius_edge.common.errors import CalibrationError, InvalidInput
from moebius_edge.common.explain import explained
from moebius_edge.common.progress import counted
from moebius_edge.common.scripts import script_parser
from moebius_edge.common.tensors import Array
from moebius_edge.inpaint.masks import draw_mask
from moebius_edge.inpaint.noise import check_seed
from moebius_edge.inpaint.options import InpaintOptions
from moebius_edge.inpainter import Inpainter
from moebius_edge.photos.reading import photo_files
from moebius_edge.runtimes.external_data import graph_files

EVERY = 3  # of the loop's steps one in so many is compared
MAX_EDITS = 10_000  # photos times masks: FP32's are held in memory, 1 MB each of nano's

Case = tuple[NDArray[np.uint8], NDArray[np.bool_]]


@dataclass(frozen=True)
class Cost:
    """One bundle against the FP32 bundle."""

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
    """Yield every photo's centred square with `masks` seeded masks each.

    Raises InvalidInput when `masks` is below 1 or makes more than `MAX_EDITS` edits.
    """
    rng, photos = np.random.default_rng(check_seed(seed)), photo_files(folder, CalibrationError)
    most = max(MAX_EDITS // len(photos), 1)
    if not 1 <= masks <= most:
        raise InvalidInput(f"masks is {masks}; expected 1 to {most} with {len(photos)} photos")
    for photo in squares(photos, side):
        for _ in range(masks):
            yield photo, draw_mask(rng, side, AREA)


def edit(inpainter: Inpainter, case: Case) -> NDArray[np.uint8]:
    """Return the finished picture uint8 [R,R,3], made with the program's default options.

    A bundle's own defaults might differ from bundle to bundle. Colours are not fitted to the photo's, because
    that would hide a precision's shift of them.
    """
    options = asdict(InpaintOptions()) | {"margin": 0.0, "blend": "feather"}
    return np.asarray(inpainter(*case, **options))


def truth(inpainter: Inpainter, case: Case) -> Truth:
    """Run the FP32 bundle's edit, keeping what went through its denoiser at every `EVERY`th step."""
    runtime = inpainter.runtime
    inpainter.runtime = recorder = Recorder(runtime)
    try:
        picture = edit(inpainter, case)
    finally:
        inpainter.runtime = runtime
    steps = [(inputs, outputs["noise"]) for inputs, outputs in recorder.calls["denoiser"][::EVERY]]
    return Truth(picture, steps)


def costs(reference: Path, bundles: Sequence[Path], folder: Path, masks: int, seed: int) -> Iterator[Cost]:
    """Yield one row per bundle. Raises InvalidInput when `reference` is not FP32, or of another model."""
    manifests = comparable(reference, bundles)
    fp32 = Inpainter.load(reference, low_memory=False)
    pairs = list(cases(folder, fp32.resolution, masks, seed))
    truths = [truth(fp32, case) for case in counted(pairs, str(reference))]
    del fp32  # its sessions: one bundle at a time is resident
    for path, manifest in zip(bundles, manifests, strict=True):
        inpainter = Inpainter.load(path, low_memory=False)
        pictures, noises = [], []
        both = list(zip(pairs, truths, strict=True))
        for case, expected in counted(both, str(path)):
            mask = case[1]
            found = edit(inpainter, case)
            pictures.append(region_db(found, expected.picture, mask))
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
                manifest.files[name].size for name in graph_files(Bundle.open(path), "denoiser")
            ),
        )


def comparable(reference: Path, bundles: Sequence[Path]) -> list[Manifest]:
    """Open all bundles, before anything takes minutes, and return their manifests.

    Raises InvalidInput when `reference` is not FP32, or a bundle was made from other weights.
    """
    base = Bundle.open(reference).manifest
    if base.precision != "fp32":
        raise InvalidInput(f"{reference} is {base.precision}; the first bundle must be fp32")
    manifests = [Bundle.open(path).manifest for path in bundles]
    for path, manifest in zip(bundles, manifests, strict=True):
        if manifest.model.weights_sha256 != base.model.weights_sha256:
            raise InvalidInput(f"{path} and {reference} were made from other weights; export both again")
    return manifests


def main(arguments: list[str] | None = None) -> None:
    """Run the command; exit code 2 for what cannot be used."""
    parser = script_parser("moebius_edge.calibration.evaluation.evaluate", __doc__)
    parser.add_argument("reference", type=Path, help="an FP32 bundle")
    parser.add_argument("bundles", type=Path, nargs="+", help="bundles of the same model")
    parser.add_argument("--photos", type=Path, required=True, help="folder of photos, not calibrated on")
    parser.add_argument("--masks", type=int, default=10, help="per photo")
    parser.add_argument("--seed", type=int, default=0, help="of the masks")
    parser.add_argument("--json", action="store_true", help="one JSON list and nothing else")
    given = parser.parse_args(arguments)
    rows: list[Cost] = []
    with explained():
        try:
            for row in costs(given.reference, given.bundles, given.photos, given.masks, given.seed):
                rows.append(row)
        finally:  # bundles before one that failed took minutes
            if given.json and rows:
                print(json.dumps([asdict(row) for row in rows]))
            elif rows:
                # Not as markup: names may have brackets.
                Console(width=110, markup=False).print(_table(rows))


def _table(rows: Sequence[Cost]) -> Table:
    table = Table("bundle", "precision", "picture, dB (worst)", "denoiser, dB (worst)", "denoiser file, MB")
    for row in rows:
        table.add_row(
            row.bundle,
            row.precision,
            f"{row.picture_db:.1f} ({row.picture_worst_db:.1f})",
            f"{row.denoiser_db:.1f} ({row.denoiser_worst_db:.1f})",
            f"{row.denoiser_bytes / 1e6:.1f}",
        )
    return table


if __name__ == "__main__":
    main()
