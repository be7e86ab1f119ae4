"""Measure pictures: PSNR, chroma, and the autoencoder's reconstruction table."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray

from moebius_edge.photos.reading import photo_files
from moebius_edge.training.photos import centre_square, load_rgb, to_images, to_tensor

SIDE = 256  # pixels: photos are judged as their centred square at this size


def psnr(a: NDArray[Any], b: NDArray[Any], where: NDArray[np.bool_] | None = None) -> float:
    """Return the PSNR in decibels against a peak of 255, over the pixels `where` (all if None)."""
    error = (a.astype(np.float64) - b.astype(np.float64)) ** 2
    mean = float(error.mean() if where is None else error[where].mean())
    return math.inf if mean == 0 else 10 * math.log10(255.0**2 / mean)


def chroma(rgb: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return Cb and Cr (JFIF, without the offset of 128) of uint8 [..., 3]."""
    red, green, blue = np.moveaxis(rgb.astype(np.float64), -1, 0)
    return -0.168736 * red - 0.331264 * green + 0.5 * blue, 0.5 * red - 0.418688 * green - 0.081312 * blue


def evaluation_squares(*folders: Path, side: int = SIDE) -> tuple[list[str], NDArray[np.uint8]]:
    """Return names and uint8 [N, side, side, 3] of the photos in the folders, one folder after another."""
    files = [path for folder in folders for path in photo_files(folder)]
    squares = [np.asarray(centre_square(load_rgb(path), side)) for path in files]
    return [path.stem for path in files], np.stack(squares)


def masks_tensor(masks: list[NDArray[np.bool_]]) -> torch.Tensor:
    """Stack masks, bool [H, W] each, as float32 [N, 1, H, W] of 0 and 1."""
    return torch.from_numpy(np.stack(masks)).float()[:, None]


@torch.inference_mode()
def reconstruct(vae: AutoencoderKL, photos: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Send photos, uint8 [N, H, W, 3], through the autoencoder (posterior mean), one by one."""
    outputs = []
    for photo in to_tensor(photos):
        latents = vae.encode(photo[None]).latent_dist.mean
        outputs.append(to_images(vae.decode(latents).sample)[0])
    return np.stack(outputs)


def reconstruction_table(
    names: list[str], photos: NDArray[np.uint8], outputs: NDArray[np.uint8]
) -> dict[str, dict[str, float]]:
    """Return the PSNR of the reconstruction of each photo, in decibels, of RGB, Cb and Cr.

    The rows "mean" and "worst" are their mean and their lowest.
    """
    rows: dict[str, dict[str, float]] = {}
    for number, (name, photo, output) in enumerate(zip(names, photos, outputs, strict=True)):
        (cb, cr), (cb_out, cr_out) = chroma(photo), chroma(output)
        row = {"rgb": psnr(photo, output), "cb": psnr(cb, cb_out), "cr": psnr(cr, cr_out)}
        rows[f"{name} ({number})" if name in rows else name] = row  # two folders may use the same name
    columns = {key: [row[key] for row in rows.values()] for key in ("rgb", "cb", "cr")}
    rows["mean"] = {key: float(np.mean(values)) for key, values in columns.items()}
    rows["worst"] = {key: min(values) for key, values in columns.items()}
    return rows


def vae_table(vae: AutoencoderKL, folder: Path) -> dict[str, dict[str, float]]:
    """Return the `reconstruction_table` of the photos in a folder."""
    names, photos = evaluation_squares(folder)
    return reconstruction_table(names, photos, reconstruct(vae, photos))
