from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from moebius_edge.errors import InvalidInput
from moebius_edge.training.photos import Crop, PhotoCrops, centre_square, load_rgb, to_images, to_tensor


def test_the_same_seed_gives_the_same_crops(photos: Path) -> None:
    first, again, other = (PhotoCrops(photos, Crop(32), seed).batch(6) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.shape == (6, 3, 32, 32)
    assert -1 <= first.min() < -0.2
    assert 0.2 < first.max() <= 1


def test_flat_crops_are_avoided(tmp_path: Path) -> None:
    """A photo whose upper nine tenths are flat gives mostly crops of its rest."""
    pixels = np.full((640, 640, 3), 128, dtype=np.uint8)
    pixels[576:] = np.random.default_rng(0).integers(0, 255, (64, 640, 3))
    Image.fromarray(pixels).save(tmp_path / "sky.png")

    def flat(min_std: float) -> float:
        crops = PhotoCrops(tmp_path, Crop(32, min_std=min_std), 0).batch(64)
        return float((crops.std((1, 2, 3)) < 0.02).float().mean())

    assert flat(0.0) > 0.6
    assert flat(6.0) < 0.5 * flat(0.0)


def test_swapping_colours_keeps_every_pixels_values(photos: Path) -> None:
    plain = PhotoCrops(photos, Crop(64, swap_colours=0.0), 5).batch(1)
    swapped = PhotoCrops(photos, Crop(64, swap_colours=1.0), 5).batch(1)
    assert torch.equal(plain.sort(dim=1).values, swapped.sort(dim=1).values)


def test_monochrome_photos_are_drawn_less(photos: Path) -> None:
    Image.open(photos / "0.png").convert("L").save(photos / "9.png")
    weights = PhotoCrops(photos, Crop(32), 0).weights
    assert weights[-1] == pytest.approx(weights[0] / 4)


def test_photos_smaller_than_a_crop_are_enlarged(photos: Path) -> None:
    assert PhotoCrops(photos, Crop(128), 0).batch(2).shape == (2, 3, 128, 128)


def test_bytes_survive_the_way_to_a_tensor_and_back() -> None:
    levels = np.arange(256, dtype=np.uint8)
    pixels = np.stack([levels, levels[::-1], np.roll(levels, 9)], axis=-1)[None, None]
    assert np.array_equal(to_images(to_tensor(pixels)), pixels)


def test_exif_rotation_is_followed(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter
    Image.new("RGB", (40, 20)).save(tmp_path / "turned.jpg", exif=exif)
    assert load_rgb(tmp_path / "turned.jpg").size == (20, 40)
    assert centre_square(load_rgb(tmp_path / "turned.jpg"), 16).size == (16, 16)


def test_a_folder_without_photos_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="holds no photo"):
        PhotoCrops(tmp_path, Crop(), 0)
