from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from moebius_edge.common.errors import InvalidInput
from moebius_edge.training.photos import (
    CropOptions,
    PhotoCrops,
    centre_square,
    load_rgb,
    to_images,
    to_tensor,
)


def crops(*folders: Path, seed: int = 0) -> PhotoCrops:
    return PhotoCrops(folders, seed)


def test_the_same_seed_gives_the_same_crops(photos: Path) -> None:
    first, again, other = (crops(photos, seed=seed).batch(6, CropOptions(32)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.shape == (6, 3, 32, 32)
    assert -1 <= first.min() < -0.2
    assert 0.2 < first.max() <= 1


def test_a_crop_is_a_piece_of_the_photo_or_of_its_mirror_image(tmp_path: Path) -> None:
    """A photo whose red is the column and whose green is the row tells where each pixel came from."""
    y, x = np.mgrid[0:256, 0:256]
    Image.fromarray(np.stack([x, y, 0 * x], axis=-1).astype(np.uint8)).save(tmp_path / "where.png")
    pieces = to_images(crops(tmp_path).batch(40, CropOptions(64, flat=1.0))).astype(int)
    across, down = np.diff(pieces[..., 0], axis=2), np.diff(pieces[..., 1], axis=1)
    assert (down == 1).all()
    mirrored = (across == -1).all(axis=(1, 2))
    assert ((across == 1).all(axis=(1, 2)) | mirrored).all()
    assert 8 < mirrored.sum() < 32
    assert pieces[..., 0].min() < 16 and pieces[..., 0].max() > 239  # from everywhere


@pytest.mark.parametrize(("max_scale", "sizes"), [(256, {256}), (300, {256, 296}), (456, {256, 296, 342})])
def test_a_crop_comes_from_the_scales_that_it_allows(tmp_path: Path, max_scale: int, sizes: set[int]) -> None:
    """A ramp from black to white is steeper in a smaller picture."""
    ramp = np.linspace(0, 255, 350).astype(np.uint8)[:, None, None].repeat(350, 1).repeat(3, 2)
    Image.fromarray(ramp).save(tmp_path / "ramp.png")
    batch = to_images(crops(tmp_path).batch(60, CropOptions(128, max_scale=max_scale))).astype(float)
    rises = batch[:, -1, 0, 0] - batch[:, 0, 0, 0]
    assert {min((256, 296, 342), key=lambda side: abs(255 * 127 / side - rise)) for rise in rises} == sizes


def test_flat_crops_are_drawn_less_but_are_drawn(tmp_path: Path) -> None:
    """A photo whose upper nine tenths are flat gives fewer crops of them: the sky has to be learned, too."""
    pixels = np.full((640, 640, 3), 128, dtype=np.uint8)
    pixels[576:] = np.random.default_rng(0).integers(0, 255, (64, 640, 3))
    Image.fromarray(pixels).save(tmp_path / "sky.png")

    def flat(crop: CropOptions) -> float:
        batch = crops(tmp_path).batch(400, crop)
        return float((batch.std((1, 2, 3)) < 0.02).float().mean())

    assert flat(CropOptions(32, min_std=0.0)) > 0.6
    # A flat crop is drawn again once, unless it is kept.
    everything, some, few = (flat(CropOptions(32, flat=share)) for share in (1.0, 0.4, 0.0))
    assert everything > some > few > 0.5 * everything


def test_swapping_colours_keeps_every_pixels_values(photos: Path) -> None:
    plain = crops(photos, seed=5).batch(8, CropOptions(64))
    swapped = crops(photos, seed=5).batch(8, CropOptions(64), swap_colours=1.0)
    assert torch.equal(plain.sort(dim=1).values, swapped.sort(dim=1).values)
    assert not torch.equal(plain, swapped)


def test_monochrome_photos_and_crowded_sources_are_drawn_less(photos: Path) -> None:
    Image.open(photos / "0.png").convert("L").save(photos / "9.png")
    rows = ["file\tsource", "1.png\tgithub:openstax/books", "2.png\tbased.cooking"]
    (photos / "CREDITS.tsv").write_text("\n".join(rows) + "\n")
    weights = crops(photos).weights
    assert (weights / weights[0]).tolist() == pytest.approx([1, 0.5, 0.3, 1, 0.25])
    assert weights.sum() == pytest.approx(1)


def test_photos_of_several_folders_are_drawn(photos: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    Image.new("RGB", (300, 300), (255, 0, 0)).save(other / "red.png")
    both = crops(photos, other)
    assert len(both.weights) == 5
    assert (to_images(both.batch(60, CropOptions(16, flat=1.0)))[:, 0, 0] == (255, 0, 0)).all(axis=1).any()


def test_photos_smaller_than_the_smallest_scale_are_enlarged(photos: Path) -> None:
    assert crops(photos).batch(2, CropOptions(256)).shape == (2, 3, 256, 256)


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
        crops(tmp_path)


def test_crops_larger_than_photos_are_kept_are_refused(photos: Path) -> None:
    with pytest.raises(InvalidInput, match="crops of 512 pixels"):
        crops(photos).batch(1, CropOptions(512))
