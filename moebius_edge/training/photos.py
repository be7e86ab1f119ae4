"""Turn folders of photos into an endless, seeded source of crops, drawn on the device that trains."""

import csv
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from moebius_edge.common.errors import InvalidInput
from moebius_edge.photos.reading import photo_files

CREDITS = "CREDITS.tsv"  # beside the photos, if known: a row per photo with `file` and `source`
# Short sides in pixels at which each photo is kept. A crop of the smallest is most of a photo, as the
# context of a hole usually is; a crop of the largest is texture.
SCALES = (256, 296, 342, 395, 456)
GREY_SATURATION = 6.0  # mean max-min of the RGB bytes below which a photo counts as monochrome
# How often photos of a source are drawn, against 1: nature, streets and interiors are what people edit, and
# textbooks (people) and cookery sites have more photos than all of those together.
SOURCE_WEIGHTS = {"openstax": 0.5, "cook": 0.3}


@dataclass(frozen=True)
class CropOptions:
    """What a training crop may be."""

    size: int = 64  # side in pixels
    max_scale: int = SCALES[-1]  # largest short side, pixels, of the photo that is cropped
    min_std: float = 6.0  # standard deviation in grey levels below which a crop counts as flat,
    flat: float = 0.4  # how often a flat one is kept all the same: a smooth sky has to be learned, too


def photo_sources(folder: Path) -> dict[str, str]:
    """Return where each photo of a folder came from, by file name; nothing if the folder does not say so.

    The folder says so in a table `CREDITS`.
    """
    path = folder / CREDITS
    if not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        return {row["file"]: row.get("source") or "" for row in csv.DictReader(file, delimiter="\t")}


def load_rgb(path: Path) -> Image.Image:
    """Read a photo the right way up, RGB, without alpha."""
    with Image.open(path) as photo:
        return ImageOps.exif_transpose(photo).convert("RGB")


def centre_square(photo: Image.Image, size: int) -> Image.Image:
    """Cut out the largest centred square, resized to `size` pixels by Lanczos.

    This is the evaluation's view of a photo.
    """
    return ImageOps.fit(photo, (size, size), Image.Resampling.LANCZOS)


def to_tensor(pixels: NDArray[np.uint8]) -> torch.Tensor:
    """Turn uint8 [..., H, W, 3] into float32 [..., 3, H, W] in [-1, 1]."""
    return torch.from_numpy(pixels).movedim(-1, -3).float().div(127.5).sub(1.0).contiguous()


def to_images(tensor: torch.Tensor) -> NDArray[np.uint8]:
    """Turn floats [B, 3, H, W] in [-1, 1] (clamped) into uint8 [B, H, W, 3]."""
    levels = tensor.detach().float().clamp(-1, 1).add(1.0).mul(127.5).round()
    return levels.to(torch.uint8).movedim(1, -1).contiguous().cpu().numpy()


class PhotoCrops:
    """Photos decoded once, as pyramids of bytes in one tensor; crops at random scales, positions and flips.

    Everything is drawn on `device`, without a round trip to the host. One seed on one kind of device gives
    the same crops.
    """

    def __init__(self, folders: Iterable[Path], seed: int, device: str = "cpu") -> None:
        self.device = device
        self.generator = torch.Generator(device).manual_seed(seed)
        sources = {
            path: names.get(path.name, "")
            for folder, names in [(folder, photo_sources(folder)) for folder in folders]
            for path in photo_files(folder)
        }
        with ThreadPoolExecutor() as pool:
            pyramids = list(pool.map(lambda path: _pyramid(load_rgb(path)), sources))
        weights = [
            _source_weight(source) * (0.25 if _is_grey(levels[0]) else 1.0)
            for source, levels in zip(sources.values(), pyramids, strict=True)
        ]
        chances = torch.tensor(weights, device=device)
        self.weights = chances / chances.sum()
        levels = [level for pyramid in pyramids for level in pyramid]
        # All pixels of all levels in one row; a level is found by its first pixel, width and height.
        self.pixels = torch.from_numpy(np.concatenate([level.reshape(-1, 3) for level in levels])).to(device)
        sizes = torch.tensor([level.shape[:2] for level in levels])
        self.height, self.width = (side.to(device) for side in sizes.T)
        self.first = (sizes.prod(1).cumsum(0) - sizes.prod(1)).to(device)
        counts = torch.tensor([len(pyramid) for pyramid in pyramids])
        self.level = (counts.cumsum(0) - counts).to(device)  # of a photo's smallest level
        shorts = [[min(level.shape[:2]) for level in pyramid] for pyramid in pyramids]
        self.shorts = torch.tensor([row + [1 << 30] * (len(SCALES) - len(row)) for row in shorts]).to(device)

    def batch(self, count: int, crop: CropOptions, swap_colours: float | Tensor = 0.0) -> Tensor:
        """Draw crops as float32 [count, 3, size, size] in [-1, 1], channels last.

        `swap_colours`: how often red, green and blue are permuted, so that every hue is common. Raises
        `InvalidInput` for crops that are larger than the smallest photos are kept.
        """
        if crop.size > SCALES[0]:
            raise InvalidInput(
                f"crops of {crop.size} pixels; photos are kept for crops of {SCALES[0]} at most"
            )
        one, other = (self._bytes(count, crop) for _ in range(2))
        keep = torch.rand(count, generator=self.generator, device=self.device) < crop.flat
        detailed = one.float().std((1, 2, 3)) >= crop.min_std
        pixels = torch.where((detailed | keep)[:, None, None, None], one, other)
        pixels = self._swap(pixels, swap_colours)
        return pixels.permute(0, 3, 1, 2).float().div(127.5).sub(1.0)

    def _bytes(self, count: int, crop: CropOptions) -> Tensor:
        """Draw crops as uint8 [count, size, size, 3], some of them mirrored."""
        size = crop.size
        draw = torch.rand(count, generator=self.generator, device=self.device)
        photo = torch.searchsorted(self.weights.cumsum(0), draw).clamp(max=len(self.weights) - 1)
        # Levels are sorted by size: those that the crop allows are the first so many of the large enough.
        shorts = self.shorts[photo]
        too_small, allowed = (shorts < size).sum(1), (shorts <= max(crop.max_scale, size)).sum(1)
        draws = torch.rand((4, count), generator=self.generator, device=self.device)
        pick = too_small + (draws[0] * (allowed - too_small).clamp(min=1)).long()
        level = self.level[photo] + pick
        top = (draws[1] * (self.height[level] - size + 1)).long()
        left = (draws[2] * (self.width[level] - size + 1)).long()
        along = torch.arange(size, device=self.device)
        across = torch.where((draws[3] < 0.5)[:, None], along, along.flip(0))
        start = self.first[level] + top * self.width[level] + left
        rows = start[:, None] + along * self.width[level][:, None]
        return self.pixels[rows[:, :, None] + across[:, None, :]]

    def _swap(self, pixels: Tensor, share: float | Tensor) -> Tensor:
        """Permute the colour planes of a share of the crops."""
        draws = torch.rand((len(pixels), 4), generator=self.generator, device=self.device)
        order = draws[:, :3].argsort(1)
        order = torch.where(draws[:, 3:] < share, order, torch.arange(3, device=self.device))
        return pixels.gather(3, order[:, None, None, :].expand_as(pixels))


def _pyramid(photo: Image.Image) -> list[NDArray[np.uint8]]:
    """Resize the photo to every scale up to its own, smallest first.

    A photo that is smaller than all scales is resized once, to the smallest.
    """
    short = min(photo.size)
    levels = []
    for scale in [scale for scale in SCALES if scale <= short] or [SCALES[0]]:
        width, height = (max(scale, round(side * scale / short)) for side in photo.size)
        levels.append(np.array(photo.resize((width, height), Image.Resampling.LANCZOS)))
    return levels


def _source_weight(source: str) -> float:
    return next((weight for part, weight in SOURCE_WEIGHTS.items() if part in source.lower()), 1.0)


def _is_grey(pixels: NDArray[np.uint8]) -> bool:
    spread = pixels.max(axis=2).astype(np.int16) - pixels.min(axis=2)
    return float(spread.mean()) < GREY_SATURATION
