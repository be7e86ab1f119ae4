"""Train all of nano: `python -m moebius_edge.training.nano --photos DIR ... --masks DIR --run RUN`.

First the autoencoder, then the U-Net on its latents. Made for some minutes of one data-centre GPU, where
everything is drawn on the device, and for hours of a few CPU cores. Repeating the command goes on where it
stopped; `--init` starts from the weights of an earlier run.
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from moebius_edge.common.errors import InvalidInput
from moebius_edge.common.explain import explained
from moebius_edge.model.config import MoebiusConfig, VAEConfig
from moebius_edge.training.holes import Holes
from moebius_edge.training.latents import BankOptions, Material
from moebius_edge.training.loop import Budget
from moebius_edge.training.photos import CropOptions, PhotoCrops
from moebius_edge.training.unet import UNetTrainer, UNetTraining
from moebius_edge.training.vae import VAETrainer, VAETraining
from moebius_edge.training.weights import read_unet, read_vae

# The next nano: 6.7 and 7.4 million parameters, 28 MB. What is shipped has its own config.json.
UNET = MoebiusConfig((64, 128, 192), latent_size=32, embedding_dim=192, cross_attention_dim=96)
VAE = VAEConfig((64, 96, 128, 192), layers_per_block=1, norm_num_groups=8, sample_size=256)

PARTS = ("autoencoder", "unet")
AUTOENCODER_SHARE = 0.35  # of the minutes, if both are trained
RESERVE = 0.2  # minutes at the end of a lent machine's time: for writing

# What differs by the kind of device. A GPU wants large steps of one shape, a CPU small ones in threads.
VAE_SETTINGS: dict[str, dict[str, Any]] = {
    "cuda": {"batch": 32, "crop": 192, "large_crop": 192, "ema": 0.998, "capture": True},
    "cpu": {"batch": 32, "parts": 4, "workers": 2},
}
UNET_SETTINGS: dict[str, dict[str, Any]] = {
    "cuda": {
        "batch": 256,
        "ema": 0.998,
        "capture": True,
        "bank": BankOptions(8192, replaced=18, masks_per_crop=3),
    },
    "cpu": {"batch": 16, "parts": 2, "workers": 2, "bank": BankOptions(512, replaced=2)},
}


@dataclass(frozen=True)
class NanoRun:
    """What one run of the command is to do."""

    photos: tuple[Path, ...]  # folders of training photos
    masks: Path | None  # folder of outlines of objects; without it holes are strokes, boxes and blobs only
    run: Path
    minutes: float = 12.0  # of running; on a GPU of the wall clock, everything included
    steps: int | None = None  # of each part instead
    parts: tuple[str, ...] = PARTS
    init: Path | None = None  # an earlier run's folder: its weights are gone on from, at a lower rate,
    # and its architecture counts instead of `unet` and `vae`
    sheet_photos: Path | None = None  # photos for the sample sheets, never trained on
    seed: int = 0
    device: str = "cuda" if torch.cuda.is_available() else "cpu"
    unet: MoebiusConfig = UNET
    vae: VAEConfig = VAE
    settings: tuple[tuple[str, Any], ...] = ()  # of the trainings, over those of the device

    @property
    def wall(self) -> bool:
        """Whether all time counts, as on a GPU that is lent for minutes."""
        return self.device == "cuda"

    def common(self, table: dict[str, dict[str, Any]]) -> dict[str, Any]:
        """Return the settings of one training from a table by device, overridden by `settings`."""
        own = {"run": self.run, "sheet_photos": self.sheet_photos, "seed": self.seed, "device": self.device}
        return {**own, **table[self.device], **dict(self.settings)}


def train_nano(run: NanoRun) -> None:
    """Train the chosen parts; weights, configuration and sheets are in `run.run` afterwards.

    Raises `InvalidInput` for folders without photos or outlines, `CheckpointError` for a run of another
    architecture.
    """
    begun = time.monotonic()
    photos = PhotoCrops(run.photos, run.seed, run.device)
    holes = Holes(run.masks, run.seed + 2, run.device)
    loading = (time.monotonic() - begun) / 60
    print(f"{len(photos.weights)} photos, {len(holes.areas)} shapes in {60 * loading:.0f} s", flush=True)
    share = {"autoencoder": AUTOENCODER_SHARE, "unet": 1 - AUTOENCODER_SHARE} if len(run.parts) > 1 else {}
    if "autoencoder" in run.parts:
        minutes = share.get("autoencoder", 1.0) * run.minutes - (loading if run.wall else 0)
        _train_autoencoder(run, photos, _budget(run, minutes))
    if "unet" in run.parts:
        spent = (time.monotonic() - begun) / 60 + RESERVE
        minutes = run.minutes - spent if run.wall else share.get("unet", 1.0) * run.minutes
        _train_unet(run, photos, holes, _budget(run, minutes))


def _budget(run: NanoRun, minutes: float) -> Budget:
    if run.steps is None and minutes <= 0:
        raise InvalidInput(
            f"--minutes {run.minutes:g} are over before the first step: photos took them; give more"
        )
    return Budget(minutes, run.steps, save_minutes=1.0 if run.wall else 10.0, wall=run.wall)


def _train_autoencoder(run: NanoRun, photos: PhotoCrops, budget: Budget) -> None:
    start, config = (None, run.vae) if run.init is None else read_vae(run.init)
    VAETrainer(VAETraining(**run.common(VAE_SETTINGS)), config, budget, photos, start).train()


def _train_unet(run: NanoRun, photos: PhotoCrops, holes: Holes, budget: Budget) -> None:
    own = (run.run / "vae.safetensors").exists()
    vae, vae_config = read_vae(run.run if own or run.init is None else run.init)
    start, config = None, run.unet
    if run.init is not None and (run.init / "unet.safetensors").exists():
        start, config = read_unet(run.init)
    material = Material(photos, holes, CropOptions(config.latent_size * vae_config.downscale))
    options = UNetTraining(**run.common(UNET_SETTINGS))
    UNetTrainer(options, config, (vae, vae_config), budget, material, start).train()


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
    devices = [name for name in sorted(VAE_SETTINGS) if name == "cpu" or torch.cuda.is_available()]
    add("--device", default=NanoRun.device, choices=devices)
    add("--batch", type=int, help="examples per step, of both parts")
    add("--lr", type=float, help="learning rate after the warm-up, of both parts")
    add("--bf16", action=argparse.BooleanOptionalAction, help="autocast: faster on a GPU or AVX-512 BF16")
    add(
        "--compile",
        action=argparse.BooleanOptionalAction,
        help="with torch.compile: takes minutes",
    )
    return parser


def main(arguments: list[str] | None = None) -> None:
    """Run the command with these arguments; None: those of the process."""
    parser = _arguments()
    given = parser.parse_args(arguments)
    if given.minutes <= 0 or (given.steps is not None and given.steps < 1):
        parser.error(f"--minutes {given.minutes:g}, --steps {given.steps}: both must be above 0")
    chosen = {name: getattr(given, name) for name in ("batch", "lr", "bf16", "compile")}
    settings = tuple((name, value) for name, value in chosen.items() if value is not None)
    with explained():
        train_nano(
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
