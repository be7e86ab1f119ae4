"""Draw sample sheets: pictures to look at while a model trains."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from moebius_edge.training.cases import make_cases
from moebius_edge.training.metrics import evaluation_squares, masks_tensor, reconstruct
from moebius_edge.training.photos import to_images, to_tensor
from moebius_edge.training.sampling import Sampling, fill


def grid(rows: list[list[NDArray[np.uint8]]]) -> Image.Image:
    """Put rows of equally sized tiles, uint8 [H, W, 3] each, into one picture."""
    return Image.fromarray(np.concatenate([np.concatenate(row, axis=1) for row in rows], axis=0))


def save_reconstructions(vae: AutoencoderKL, folder: Path, path: Path) -> None:
    """Draw up to 8 photos of a folder above what the autoencoder makes of them."""
    _, photos = evaluation_squares(folder)
    photos = photos[:8]
    path.parent.mkdir(parents=True, exist_ok=True)
    grid([list(photos), list(reconstruct(vae, photos))]).save(path)


def save_fills(
    model: nn.Module, vae: AutoencoderKL, folder: Path, path: Path, sampling: Sampling | None = None
) -> None:
    """Draw columns of masked photos above fills of them, at guidance 1 and at the guidance of `sampling`."""
    cases = make_cases([folder], count=8)
    masks, photos = masks_tensor(cases.masks), to_tensor(cases.photos)
    options = sampling or Sampling()
    rows = [photos * (1 - masks)]
    for guidance in (1.0, options.guidance):
        rows.append(fill(model, vae, photos, masks, replace(options, guidance=guidance)))
    path.parent.mkdir(parents=True, exist_ok=True)
    grid([list(to_images(row)) for row in rows]).save(path)
