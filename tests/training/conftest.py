"""Tiny synthetic photos, so that a training run takes a second."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def paint(seed: int, size: tuple[int, int] = (96, 80)) -> Image.Image:
    """A colour gradient with a few discs."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0 : size[1], 0 : size[0]] / max(size)
    picture = np.stack([x, y, 1 - x], axis=-1) * rng.uniform(60, 180, 3) + 40
    for _ in range(5):
        centre, radius = rng.uniform(0, 1, 2), rng.uniform(0.05, 0.2)
        picture[(x - centre[0]) ** 2 + (y - centre[1]) ** 2 < radius**2] = rng.uniform(0, 255, 3)
    return Image.fromarray(picture.clip(0, 255).astype(np.uint8))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed in range(4):
        paint(seed).save(folder / f"{seed}.png")
    return folder
