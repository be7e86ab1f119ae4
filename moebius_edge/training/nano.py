"""Trains all of nano: `python -m moebius_edge.training.nano --photos DIR ... --masks DIR --run RUN`.

First the autoencoder, then the U-Net on its latents. Made for some minutes of one data-centre GPU, where
everything is drawn on the device, and for hours of a few CPU cores. Repeating the command goes on where it
stopped; `--init` starts from the weights of an earlier run.
"""

import argparse
import json
import shutil
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL

from moebius_edge.errors import InvalidInput
from moebius_edge.explain import explained
from moebius_edge.files import write_atomically
from moebius_edge.model.config import CONFIGS, VAE_CONFIGS, MoebiusConfig, VAEConfig
from moebius_edge.model.unet import Moebius
from moebius_edge.model.vae import build_vae
from moebius_edge.training.compiling import Ahead, taps_are_faster
from moebius_edge.training.holes import Holes
from moebius_edge.training.latents import BankOptions, Material
from moebius_edge.training.loop import Budget
from moebius_edge.training.photos import Crop, PhotoCrops, photo_files
from moebius_edge.training.unet import UNetTrainer, UNetTraining
from moebius_edge.training.vae import VAETrainer, VAETraining
from moebius_edge.training.weights import read_unet, read_vae

PARTS = ("autoencoder", "unet")
AUTOENCODER_SHARE = 0.35  # of the minutes, if both are trained
RESERVE = 0.2  # minutes at the end of a lent machine's time: for writing
WORTH_COMPILING = 3.0  # minutes of training from which the autoencoder's compilation, a good one, pays
PATIENCE = 45.0  # seconds: how long the U-Net's compilation is waited for when the autoencoder is done
COMPILED = "compiled.json"  # in the run's folder: which form of the U-Net is faster

# What differs by the kind of device. A GPU wants large steps of one shape, a CPU small ones in threads.
VAE_SETTINGS: dict[str, dict[str, Any]] = {
    "cuda": {"batch": 32, "crop": 192, "large_crop": 192, "ema": 0.998},
    "cpu": {"batch": 32, "parts": 4, "workers": 2},
}
UNET_SETTINGS: dict[str, dict[str, Any]] = {
    "cuda": {"batch": 256, "ema": 0.998, "bank": BankOptions(8192, fresh=18, masks_per_crop=3)},
    "cpu": {"batch": 16, "parts": 2, "workers": 2, "bank": BankOptions(512, fresh=2)},
}


@dataclass(frozen=True)
class NanoRun:
    """One run of the command."""

    photos: tuple[Path, ...]  # folders of training photos
    masks: Path | None  # folder of outlines of objects; without it holes are strokes, boxes and blobs only
    run: Path
    minutes: float = 12.0  # of running; on a GPU of the wall clock, everything included
    steps: int | None = None  # of each part instead
    parts: tuple[str, ...] = PARTS
    init: Path | None = None  # an earlier run's folder: its weights are gone on from, at a lower rate
    sheet_photos: Path | None = None  # photos for the sample sheets, never trained on
    seed: int = 0
    device: str = "cuda" if torch.cuda.is_available() else "cpu"
    unet: MoebiusConfig = CONFIGS["nano"]
    vae: VAEConfig = VAE_CONFIGS["nano"]
    settings: tuple[tuple[str, Any], ...] = ()  # of the trainings, over those of the device

    @property
    def wall(self) -> bool:
        return self.device == "cuda"

    @property
    def compiles(self) -> bool:
        return bool(dict(self.settings).get("compile", self.device == "cuda"))

    def compile_command(self) -> list[str]:
        """The arguments with which this program only compiles the U-Net."""
        batch = dict(self.settings).get("batch")
        rest = [] if batch is None else ["--batch", str(batch)]
        return ["--photos", str(self.photos[0]), "--run", str(self.run), "--compile-only", *rest]

    def common(self, table: dict[str, dict[str, Any]]) -> dict[str, Any]:
        """The settings of one training."""
        own = {"run": self.run, "sheet_photos": self.sheet_photos, "seed": self.seed, "device": self.device}
        return {**own, **table[self.device], **dict(self.settings)}


def train_nano(run: NanoRun) -> None:
    """Trains the chosen parts; weights, configuration and sheets are in `run.run` afterwards.

    Raises `InvalidInput` for folders without photos, `CheckpointError` for a run of another architecture.
    """
    begun = time.monotonic()
    both = len(run.parts) == len(PARTS)
    ahead = Ahead(__spec__.name, run.compile_command()) if both and run.compiles else None
    photos = PhotoCrops(run.photos, run.seed, run.device)
    holes = Holes(run.masks, run.seed + 2, run.device)
    loading = (time.monotonic() - begun) / 60
    print(f"{len(photos.weights)} photos, {len(holes.areas)} shapes in {60 * loading:.0f} s", flush=True)
    if "autoencoder" in run.parts:
        share = AUTOENCODER_SHARE if both else 1.0
        _train_autoencoder(run, photos, _budget(run, share * run.minutes - (loading if run.wall else 0)))
    if "unet" in run.parts:
        compiles = run.compiles if ahead is None else ahead.done(PATIENCE)
        minutes = run.minutes * (1 - AUTOENCODER_SHARE if both else 1.0)
        if run.wall:
            minutes = run.minutes - (time.monotonic() - begun) / 60
        _train_unet(run, photos, holes, _budget(run, minutes), compiles)


def compile_only(run: NanoRun) -> None:
    """Fills the compiler's cache with the U-Net's step, and records what is faster in `COMPILED`."""
    channels, size = run.unet.block_out_channels[0], run.unet.latent_size
    by_taps = taps_are_faster(channels, size, UNET_SETTINGS[run.device]["batch"])
    run.run.mkdir(parents=True, exist_ok=True)
    write_atomically(run.run / COMPILED, json.dumps({"by_taps": by_taps}).encode())
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(photo_files(run.photos[0])[0], folder)
        photos = PhotoCrops([Path(folder)], run.seed, run.device)
    material = _material(run, photos, Holes(None, run.seed, run.device, drawn=8))
    trainer = _unet_trainer(run, (build_vae(run.vae), run.vae), material, Budget(), True)
    trainer.bank.refresh()
    trainer.warm_up()


def _budget(run: NanoRun, minutes: float) -> Budget:
    return Budget(minutes, run.steps, save_minutes=1.0 if run.wall else 10.0, wall=run.wall)


def _train_autoencoder(run: NanoRun, photos: PhotoCrops, budget: Budget) -> None:
    start = read_vae(run.init)[0] if run.init is not None else None
    compiles = run.compiles and budget.minutes >= WORTH_COMPILING
    options = VAETraining(**{**run.common(VAE_SETTINGS), "compile": compiles})
    VAETrainer(options, run.vae, budget, photos, start).train()


def _train_unet(run: NanoRun, photos: PhotoCrops, holes: Holes, budget: Budget, compiles: bool) -> None:
    folder = run.run if (run.run / "vae.safetensors").exists() or run.init is None else run.init
    start = None
    if run.init is not None and (run.init / "unet.safetensors").exists():
        start = read_unet(run.init)[0]
    if run.wall:
        budget = replace(budget, minutes=budget.minutes - RESERVE)
    _unet_trainer(run, read_vae(folder), _material(run, photos, holes), budget, compiles, start).train()


def _unet_trainer(
    run: NanoRun,
    autoencoder: tuple[AutoencoderKL, VAEConfig],
    material: Material,
    budget: Budget,
    compiles: bool,
    start: Moebius | None = None,
) -> UNetTrainer:
    settings = {**run.common(UNET_SETTINGS), "compile": compiles}
    if compiles and (run.run / COMPILED).exists():
        settings |= json.loads((run.run / COMPILED).read_text())
    return UNetTrainer(UNetTraining(**settings), run.unet, autoencoder, budget, material, start)


def _material(run: NanoRun, photos: PhotoCrops, holes: Holes) -> Material:
    size = run.unet.latent_size * run.vae.downscale
    return Material(photos, holes, Crop(size, swap_colours=0.1))


def _arguments() -> argparse.ArgumentParser:
    formatter = argparse.ArgumentDefaultsHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    add = parser.add_argument
    add("--photos", type=Path, nargs="+", required=True, help="folders of training photos")
    add("--masks", type=Path, help="folder of outlines of objects, for realistic holes")
    add("--run", type=Path, required=True, help="folder for checkpoints, weights and sheets")
    add("--minutes", type=float, default=NanoRun.minutes, help="of running; on a GPU all of them count")
    add("--steps", type=int, help="of each part instead")
    add("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="what to train")
    add("--init", type=Path, help="an earlier run's folder (or the package's assets/nano) to go on from")
    add("--sheet-photos", type=Path, help="folder of photos for the sample sheets, never trained on")
    add("--seed", type=int, default=NanoRun.seed)
    add("--device", default=NanoRun.device, choices=sorted(VAE_SETTINGS))
    add("--batch", type=int, help="examples per step, of both parts")
    add("--lr", type=float, help="learning rate after the warm-up, of both parts")
    add("--bf16", action=argparse.BooleanOptionalAction, help="autocast: faster on a GPU or AVX-512 BF16")
    add("--compile-only", action="store_true", help="compile the U-Net's step into the cache, and end")
    add("--compile", action=argparse.BooleanOptionalAction, help="with torch.compile")
    return parser


def main(arguments: list[str] | None = None) -> None:
    given = _arguments().parse_args(arguments)
    if given.minutes <= 0 or (given.steps is not None and given.steps < 1):
        raise InvalidInput("--minutes and --steps must be above 0")
    chosen = {name: getattr(given, name) for name in ("batch", "lr", "bf16", "compile")}
    settings = tuple((name, value) for name, value in chosen.items() if value is not None)
    with explained():
        work = compile_only if given.compile_only else train_nano
        work(
            NanoRun(
                tuple(given.photos),
                given.masks,
                given.run,
                given.minutes,
                given.steps,
                tuple(part for part in PARTS if part in given.parts),
                given.init,
                given.sheet_photos,
                given.seed,
                given.device,
                settings=settings,
            )
        )


if __name__ == "__main__":
    main()
