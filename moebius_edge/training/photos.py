"""A folder of photos as an endless, seeded source of training crops."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps

from moebius_edge.errors import InvalidInput

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
# Short sides in pixels at which each photo is kept. A crop of the smallest is most of a photo, as the
# context of a hole usually is; a crop of the largest is texture.
SCALES = (256, 304, 368, 448, 576)
GREY_SATURATION = 6.0  # mean max-min of the RGB bytes below which a photo counts as monochrome


@dataclass(frozen=True)
class Crop:
    """What a training crop may be."""

    size: int = 64  # side in pixels
    max_scale: int = 576  # largest short side, pixels, of the photo that is cropped
    grey_weight: float = 0.25  # how often a monochrome photo is drawn, against a colour photo's 1
    swap_colours: float = 0.0  # how often red, green and blue are permuted, so that every hue is common
    min_std: float = 6.0  # standard deviation in grey levels below which a crop is drawn again (empty sky)


def photo_files(folder: Path) -> list[Path]:
    """The photos in `folder`, by name. Raises `InvalidInput` if there is none."""
    files = sorted(path for path in folder.glob("*") if path.suffix.lower() in SUFFIXES)
    if not files:
        raise InvalidInput(f"{folder} holds no photo; expected files ending in {', '.join(sorted(SUFFIXES))}")
    return files


def load_rgb(path: Path) -> Image.Image:
    """A photo the right way up, RGB, without alpha."""
    with Image.open(path) as photo:
        return ImageOps.exif_transpose(photo).convert("RGB")


def centre_square(photo: Image.Image, size: int) -> Image.Image:
    """The largest centred square, resized to `size` pixels (Lanczos): the evaluation's view of a photo."""
    return ImageOps.fit(photo, (size, size), Image.Resampling.LANCZOS)


def to_tensor(pixels: NDArray[np.uint8]) -> torch.Tensor:
    """uint8 [..., H, W, 3] -> float32 [..., 3, H, W] in [-1, 1]."""
    return torch.from_numpy(pixels).movedim(-1, -3).float().div(127.5).sub(1.0).contiguous()


def to_images(tensor: torch.Tensor) -> NDArray[np.uint8]:
    """float [B, 3, H, W] in [-1, 1] (clamped) -> uint8 [B, H, W, 3]."""
    levels = tensor.detach().float().clamp(-1, 1).add(1.0).mul(127.5).round()
    return levels.to(torch.uint8).movedim(1, -1).contiguous().numpy()


class PhotoCrops:
    """Crops at random scales, positions and flips. The same seed gives the same crops."""

    def __init__(self, folder: Path, crop: Crop, seed: int) -> None:
        self.crop = crop
        self.rng = np.random.default_rng(seed)
        self.pyramids = [_pyramid(load_rgb(path), crop) for path in photo_files(folder)]
        weights = np.array([crop.grey_weight if _is_grey(levels[0]) else 1.0 for levels in self.pyramids])
        self.weights = weights / weights.sum()

    def batch(self, count: int) -> torch.Tensor:
        """float32 [count, 3, size, size] in [-1, 1]."""
        return to_tensor(np.stack([self._draw() for _ in range(count)]))

    def __iter__(self) -> Iterator[torch.Tensor]:
        while True:
            yield self.batch(1)[0]

    def _draw(self) -> NDArray[np.uint8]:
        size = self.crop.size
        for _ in range(8):
            levels = self.pyramids[self.rng.choice(len(self.pyramids), p=self.weights)]
            level = levels[self.rng.integers(len(levels))]
            top, left = (int(self.rng.integers(side - size + 1)) for side in level.shape[:2])
            piece = level[top : top + size, left : left + size]
            if piece.std() >= self.crop.min_std:
                break
        if self.rng.random() < 0.5:
            piece = piece[:, ::-1]
        if self.rng.random() < self.crop.swap_colours:
            piece = piece[..., self.rng.permutation(3)]
        return np.ascontiguousarray(piece)


def _pyramid(photo: Image.Image, crop: Crop) -> list[NDArray[np.uint8]]:
    """The photo at every scale that it and the crop allow; at the crop's own size if it is smaller."""
    short = min(photo.size)
    scales = [scale for scale in SCALES if crop.size <= scale <= min(short, crop.max_scale)]
    levels = []
    for scale in scales or [max(crop.size, min(short, SCALES[0]))]:
        width, height = (max(scale, round(side * scale / short)) for side in photo.size)
        levels.append(np.array(photo.resize((width, height), Image.Resampling.LANCZOS)))
    return levels


def _is_grey(pixels: NDArray[np.uint8]) -> bool:
    spread = pixels.max(axis=2).astype(np.int16) - pixels.min(axis=2)
    return float(spread.mean()) < GREY_SATURATION
