"""An FP32 bundle of a tiny model, and two photos."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from moebius_edge.bundle import Bundle
from moebius_edge.checkpoints import load_checkpoint
from moebius_edge.export.build import export_bundle
from tests import exports


@pytest.fixture(scope="session")
def remembered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    yield from exports.remembered(tmp_path_factory)


@pytest.fixture(scope="session")
def fp32(remembered: None, tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """8 x 8 pixels, 4 x 4 latents. Never changed by a test."""
    return export_bundle(
        load_checkpoint(str(tiny_checkpoint)), tmp_path_factory.mktemp("fp32") / "fp32.moebius"
    )


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of two photos of noise."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed in range(2):
        pixels = np.random.default_rng(seed).integers(0, 256, (24, 32, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{seed}.png")
    return folder
