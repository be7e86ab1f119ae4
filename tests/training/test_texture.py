import numpy as np
import pytest
from numpy.typing import NDArray

from moebius_edge.training.texture import PhotoTexture, hole_patches, laplacian_pyramid


def grey_noise(seed: int, count: int = 6, side: int = 64) -> NDArray[np.uint8]:
    """Pictures [count,side,side,3] of independent grey levels around 120, the same in all channels."""
    levels = np.random.default_rng(seed).normal(120, 20, (count, side, side, 1))
    return np.repeat(levels, 3, axis=-1).clip(0, 255).astype(np.uint8)


def box(side: int = 64) -> NDArray[np.bool_]:
    mask = np.zeros((side, side), dtype=bool)
    mask[16:48, 20:52] = True
    return mask


PHOTOS, MASKS = grey_noise(0), [box()] * 6


def test_a_flat_picture_has_no_detail() -> None:
    levels = laplacian_pyramid(np.full((64, 64, 3), 90, dtype=np.float32))
    assert [level.shape for level in levels] == [(64, 64, 3), (32, 32, 3), (16, 16, 3)]
    assert np.abs(levels[0]).max() < 1e-4
    assert levels[2] == pytest.approx(np.full((16, 16, 3), 90.0), abs=1e-3)


def test_patches_are_centred_in_the_hole_and_bounded_in_number() -> None:
    picture = np.zeros((64, 64, 3), dtype=np.uint8)
    picture[30, 40] = 200
    mask = np.zeros((64, 64), dtype=bool)
    mask[30, 40] = True
    patch = hole_patches([picture], [mask])[0]
    assert patch.shape == (1, 7, 7, 3)
    assert np.unravel_index(patch[0, ..., 0].argmax(), (7, 7)) == (3, 3)
    assert [len(level) for level in hole_patches(PHOTOS, MASKS)] == [6 * 256, 6 * 256, 6 * 64]


def test_photos_are_at_distance_0_from_themselves() -> None:
    texture = PhotoTexture(PHOTOS, MASKS)
    assert texture.distances(PHOTOS) == ([0, 0, 0], [0, 0, 0])


def test_a_shift_costs_what_the_formula_says_and_grows() -> None:
    """Shifted by s deviations, sums over a random direction move by s sqrt(2 / pi) on average. Only the last
    level has a mean, and normalised by itself a set has none at all."""
    texture = PhotoTexture(PHOTOS, MASKS)
    deviation = float(texture.patches[2].std())
    both = [texture.distances(PHOTOS + np.uint8(step)) for step in (0, 5, 10)]
    found = [in_photo_units for _, in_photo_units in both]
    assert [levels[0] for levels in found] == pytest.approx([0, 0, 0], abs=0.1)
    wanted = [1000 * step / deviation * (2 / np.pi) ** 0.5 for step in (0, 5, 10)]
    assert [levels[2] for levels in found] == pytest.approx(wanted, rel=0.08)
    assert max(both[2][0]) < 0.1


def test_lost_contrast_counts_in_the_photos_units_only() -> None:
    texture = PhotoTexture(PHOTOS, MASKS)
    soft = (120 + (PHOTOS.astype(float) - 120) / 2).round().astype(np.uint8)
    alone, in_photo_units = texture.distances(soft)
    assert in_photo_units[0] == pytest.approx(400, rel=0.1)  # half of E|N(0,1)|
    assert alone[0] < 10


def test_smoother_fills_are_farther_and_the_same_numbers_come_again() -> None:
    texture = PhotoTexture(PHOTOS, MASKS)
    rows = PHOTOS.astype(float)
    smooth = [PHOTOS]
    for _ in range(2):
        rows = (rows + np.roll(rows, 1, axis=1) + np.roll(rows, 1, axis=2)) / 3
        smooth.append(rows.round().astype(np.uint8))
    distances = [texture.distances(pictures)[0][0] for pictures in smooth]
    assert distances[0] < distances[1] < distances[2]
    assert PhotoTexture(PHOTOS, MASKS).distances(smooth[1])[0][0] == distances[1]
    # Another draw of the same texture is nearer than any smoothing of it; not at 0, for sets are finite.
    assert 0 < texture.distances(grey_noise(1))[0][0] < distances[1]


def test_what_is_far_from_the_hole_does_not_count() -> None:
    changed = PHOTOS.copy()
    changed[:, :, :8] = 0
    assert PhotoTexture(PHOTOS, MASKS).distances(changed)[0][0] == 0


def test_the_floor_is_that_of_another_draw_and_0_for_what_is_the_same_when_turned() -> None:
    texture = PhotoTexture(PHOTOS, MASKS)
    assert 0 < texture.floor(PHOTOS)[0] < 60
    flat = np.full_like(PHOTOS, 90)
    assert PhotoTexture(flat, MASKS).floor(flat) == pytest.approx([0, 0, 0], abs=1e-3)
