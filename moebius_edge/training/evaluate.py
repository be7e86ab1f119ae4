"""Judge a checkpoint on held-out photos: `python -m moebius_edge.training.evaluate --photos DIR`.

Every photo is seen as its centred square at the model's resolution and gets three holes: an object's outline
with some slack, strokes, a box. Nothing is downloaded.
"""

import argparse
import json
import math
from dataclasses import asdict, replace
from itertools import chain, product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from moebius_edge.checkpoints.checkpoint import Checkpoint
from moebius_edge.checkpoints.load import load_checkpoint
from moebius_edge.common.errors import InvalidInput
from moebius_edge.common.explain import explained
from moebius_edge.common.files import write_atomically
from moebius_edge.inpaint.harmonic import correction
from moebius_edge.inpaint.options import BLENDS
from moebius_edge.training.cases import Cases, make_cases
from moebius_edge.training.judge import Judge, Mask, Pixels
from moebius_edge.training.metrics import masks_tensor, reconstruct, reconstruction_table
from moebius_edge.training.parallel import in_parallel
from moebius_edge.training.photos import to_images, to_tensor
from moebius_edge.training.plain import biharmonic_fill, mean_fill
from moebius_edge.training.sampling import FAST, SOLVERS, STARTS, Filler, Sampling, guidance_effect
from moebius_edge.training.sheets import grid

BATCH = 4  # holes filled at once, by each thread
SHEET_COLUMNS = 12  # of a sheet, then it goes on below
SHEET_KINDS = (".png", ".jpg", ".webp")


def fill_cases(
    checkpoint: Checkpoint,
    cases: Cases,
    sampling: Sampling,
    seeds: int = 1,
    blend: str = BLENDS[0],
) -> list[list[Pixels]]:
    """Fill every case once per seed, from `sampling.seed` on; uint8 [S,S,3] each.

    `blend`: as the option of the portable mode; what is outside the holes does not count.
    """
    photos, masks = cases.photos, cases.masks

    def prepare(start: int) -> Filler:
        batch = slice(start, start + BATCH)
        tensors = to_tensor(photos[batch]), masks_tensor(masks[batch])
        return Filler(checkpoint.model, checkpoint.vae, *tensors, sampling, first_place=start)

    def run(task: tuple[int, Filler]) -> list[Pixels]:
        seed, filler = task
        pictures = to_images(filler.decoded(sampling.seed + seed))
        if blend != "harmonic":
            return list(pictures)
        batch = slice(filler.first_place, filler.first_place + BATCH)
        return [harmonic_fill(*case) for case in zip(photos[batch], pictures, masks[batch], strict=True)]

    fillers = in_parallel(prepare, range(0, len(masks), BATCH), f"encoding {len(masks)} photos with holes")
    filled = in_parallel(run, list(product(range(seeds), fillers)), f"filling the holes {seeds} times")
    batches = len(fillers)
    return [list(chain(*filled[first : first + batches])) for first in range(0, len(filled), batches)]


def harmonic_fill(photo: Pixels, picture: Pixels, mask: Mask) -> Pixels:
    """Return the model's picture with the harmonic correction of the portable mode, uint8 [S,S,3]."""
    fill = picture.astype(np.float64)
    result: Pixels = np.clip(np.rint(fill + correction(photo, fill, mask)), 0, 255).astype(np.uint8)
    return result


def mean_picture(pictures: list[Pixels]) -> Pixels:
    """Return the mean of several fills of one hole, rounded."""
    result: Pixels = np.rint(np.mean(np.stack(pictures), axis=0, dtype=np.float64)).astype(np.uint8)
    return result


def compare(judge: Judge, name: str, outputs: list[list[Pixels]], reconstructions: Pixels) -> dict[str, Any]:
    """Make the rows: first sample, mean of the samples, plain fills, and the autoencoder alone.

    The autoencoder bounds the first. Texture is also given relative to biharmonic's.
    """
    cases = judge.cases
    pairs = list(zip(cases.photos, cases.masks, strict=True))
    rows = {f"{name}, one sample": judge(outputs[0])}
    if len(outputs) > 1:
        means = [mean_picture(list(samples)) for samples in zip(*outputs, strict=True)]
        rows[f"{name}, mean of {len(outputs)}"] = judge(means)
    rows["biharmonic"] = judge(in_parallel(lambda pair: biharmonic_fill(*pair), pairs, "biharmonic fills"))
    rows["mean colour"] = judge([mean_fill(*pair) for pair in pairs])
    rows["autoencoder alone"] = judge(list(reconstructions[cases.places]))
    smooth = rows["biharmonic"]
    for row in rows.values():
        row["swd_ratio"] = row["swd"] / smooth["swd"]
        row["swd_photo_units_ratio"] = row["swd_photo_units"] / smooth["swd_photo_units"]
    return rows


def save_sheet(shown: list[tuple[Pixels, Mask, Pixels]], path: Path) -> None:
    """Draw per column: photo, photo with its hole in grey, fill; after 12 columns it goes on below."""
    blank = np.full_like(shown[0][0], 255)
    rows: list[list[Pixels]] = []
    for first in range(0, len(shown), SHEET_COLUMNS):
        part = shown[first : first + SHEET_COLUMNS]
        missing = [blank] * (min(len(shown), SHEET_COLUMNS) - len(part))
        grey = [np.where(mask[..., None], np.uint8(128), photo) for photo, mask, _ in part]
        filled = [np.where(mask[..., None], output, photo) for photo, mask, output in part]
        rows += [[row[0] for row in part] + missing, grey + missing, filled + missing]
    picture = grid(rows)
    picture.resize((picture.width * 3 // 4, picture.height * 3 // 4)).save(path)


def choose(names: list[str], wanted: list[str] | None) -> list[int]:
    """Return the place of the first case of each wanted photo; all cases if None. Raises `InvalidInput`."""
    if wanted is None:
        return list(range(len(names)))
    if unknown := [name for name in wanted if name not in names]:
        known = ", ".join(sorted(set(names)))
        raise InvalidInput(f"--show: there is no photo {', '.join(unknown)}; there are {known}")
    return [names.index(name) for name in wanted]


COLUMNS = {
    "psnr": ("PSNR, dB", 2),
    "ssim": ("SSIM", 3),
    "contrast": ("contrast", 2),
    "swd": ("SWD", 1),
    "swd_ratio": ("SWD / biharmonic's", 2),
    "border_step": ("border step", 2),
    "border_step_typical": ("typical case's", 2),
}


def print_tables(report: dict[str, Any]) -> None:
    """Print the fills, the autoencoder and the effect of guidance as tables."""
    console = Console(width=110)
    table = Table("in the hole", box=None, pad_edge=False)
    for title, _ in COLUMNS.values():
        table.add_column(title, justify="right")
    for name, row in report["fills"].items():
        table.add_row(name, *(f"{row[key]:.{digits}f}" for key, (_, digits) in COLUMNS.items()))
    console.print(table)
    console.print(f"\nSWD of the photos with their holes turned by 180 degrees: {report['swd_floor']:.1f}\n")
    table = Table("autoencoder, PSNR in dB", box=None, pad_edge=False)
    for title in ("RGB", "Cb", "Cr"):
        table.add_column(title, justify="right")
    for name in ("mean", "worst"):
        table.add_row(name, *(f"{value:.2f}" for value in report["autoencoder"][name].values()))
    console.print(table)
    effect = report["std(cond - uncond)"].items()
    console.print("\nstd(cond - uncond): " + ", ".join(f"{std:.4f} at t = {t}" for t, std in effect))


def write_report(report: dict[str, Any], path: Path) -> None:
    """Write strict JSON: what is infinite, like the PSNR of a fill without an error, is null."""

    def finite(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: finite(each) for key, each in value.items()}
        if isinstance(value, list):
            return [finite(each) for each in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    write_atomically(path, (json.dumps(finite(report), indent=1, allow_nan=False) + "\n").encode())


def check(given: argparse.Namespace, sampling: Sampling) -> None:
    """Raise `InvalidInput` for options that cannot work, before the work begins."""
    sampling.table()
    if given.seeds < 1:
        raise InvalidInput(f"{given.seeds} seeds; expected at least 1")
    for path in (given.json, given.sheet):
        if path is not None and not path.parent.is_dir():
            raise InvalidInput(f"{path}: there is no folder {path.parent}")
    if given.sheet is not None and given.sheet.suffix.lower() not in SHEET_KINDS:
        raise InvalidInput(f"--sheet {given.sheet}: expected a name ending in {', '.join(SHEET_KINDS)}")


def evaluate(given: argparse.Namespace) -> None:
    """Do what the command's arguments ask for: fill, judge, print, and write the files that are wanted."""
    options = {name: getattr(given, name) for name in ("steps", "seed", "start", "solver")}
    own = {
        name: getattr(given, name) for name in ("guidance", "strength") if getattr(given, name) is not None
    }
    check(given, replace(FAST, **options, **own))
    checkpoint = load_checkpoint(given.model)
    own = {"guidance": checkpoint.guidance, "strength": checkpoint.strength, **own}
    sampling = replace(FAST, **options, **own)
    torch.set_num_threads(1)  # several inside an operator wait for each other on a busy machine: see `spread`
    cases = make_cases(
        given.photos,
        given.masks,
        given.cases,
        checkpoint.config.latent_size * checkpoint.vae_config.downscale,
    )
    places = choose(cases.shown, given.show)
    outputs = fill_cases(checkpoint, cases, sampling, given.seeds, given.blend)
    reconstructions = np.concatenate(
        in_parallel(lambda one: reconstruct(checkpoint.vae, one[None]), cases.squares, "autoencoder alone")
    )
    few = to_tensor(cases.photos[:8]), masks_tensor(cases.masks[:8])
    judge = Judge(cases)
    report = {
        "settings": {
            **asdict(sampling),
            "model": checkpoint.name,
            "seeds": given.seeds,
            "blend": given.blend,
        },
        "fills": compare(judge, checkpoint.name, outputs, reconstructions),
        "autoencoder": reconstruction_table(cases.names, cases.squares, reconstructions),
        "std(cond - uncond)": guidance_effect(checkpoint.model, checkpoint.vae, *few),
        "swd_floor": float(np.mean(judge.texture.floor(cases.photos))),
        "holes": cases.described(),
    }
    print_tables(report)
    if given.json is not None:
        write_report(report, given.json)
    if given.sheet is not None:
        save_sheet([(cases.photos[i], cases.masks[i], outputs[0][i]) for i in places], given.sheet)


def main(arguments: list[str] | None = None) -> None:
    """Run the command with these arguments; None: those of the process."""
    formatter = argparse.ArgumentDefaultsHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    add = parser.add_argument
    add("--photos", type=Path, nargs="+", required=True, help="folders of held-out photos")
    add("--masks", type=Path, help="folder of silhouettes, white on black, PNG; without it drawn blobs")
    add("--model", default="nano", help="a checkpoint's name, or a training run's folder")
    add("--cases", type=int, help="how many holes; default: three per photo")
    add("--seeds", type=int, default=8, help="samples whose mean is judged beside the first")
    add("--seed", type=int, default=0, help="of the first sample")
    add("--guidance", type=float, help="default: the checkpoint's")
    add("--solver", choices=SOLVERS, default=FAST.solver)
    add("--steps", type=int, default=FAST.steps)
    add("--strength", type=float, help="default: the checkpoint's")
    add("--start", choices=STARTS, default=FAST.start, help="what the loop starts from, under noise")
    add("--blend", choices=BLENDS, default=BLENDS[0], help="harmonic: fit the fill to the rim of its hole")
    add("--json", type=Path, help="file for the same numbers, and those of every case")
    add("--sheet", type=Path, help="picture to write: photo, hole, fill")
    add("--show", nargs="+", help="names of the photos on it, once each; default: every case")
    given = parser.parse_args(arguments)
    with explained():
        evaluate(given)


if __name__ == "__main__":
    main()
