import numpy as np
import pytest

from moebius_edge.training.plain import harmonic_correction

Y, X = np.mgrid[0:48, 0:48]
PHOTO = np.stack([2 * X + Y, 60 + 0 * X, 200 - 2 * Y], axis=-1).astype(np.uint8)
MASKS = {
    "inside": (X > 12) & (X < 30) & (Y > 15) & (Y < 33),
    "at the picture's edge": (X < 20) & (Y > 30),
    "two parts": ((X - 12) ** 2 + (Y - 12) ** 2 < 60) | ((X > 30) & (X < 42) & (Y > 25) & (Y < 40)),
}


@pytest.mark.parametrize("name", MASKS)
def test_a_fill_off_by_a_constant_becomes_the_photo(name: str) -> None:
    """On a ramp the low-passed sides differ by the constant and by the ramp across the filter's width."""
    mask = MASKS[name]
    wrong = np.where(mask[..., None], PHOTO + np.array([20, 10, -30]), PHOTO).astype(np.uint8)
    corrected = harmonic_correction(PHOTO, wrong, mask)
    assert np.array_equal(corrected[~mask], PHOTO[~mask])
    assert np.all(corrected[mask][:, 1] == 60)
    before, after = (np.abs(fill.astype(int) - PHOTO)[mask].mean() for fill in (wrong, corrected))
    assert after < 0.2 * before


def test_holes_that_are_all_rim_are_corrected_too() -> None:
    mask = X == 20
    wrong = np.where(mask[..., None], 90, PHOTO).astype(np.uint8)
    assert np.all(harmonic_correction(PHOTO, wrong, mask)[mask][:, 1] == 60)


def test_the_correction_solves_laplaces_equation() -> None:
    """Inside, every value is the mean of its neighbours, to the rounding of a grey level."""
    mask = MASKS["inside"]
    grey = np.full_like(PHOTO, 128)
    step = harmonic_correction(PHOTO, np.where(mask[..., None], grey, PHOTO), mask).astype(float) - 128
    around = (step[:-2, 1:-1] + step[2:, 1:-1] + step[1:-1, :-2] + step[1:-1, 2:]) / 4
    deep = mask[2:-2, 2:-2] & mask[:-4, 2:-2] & mask[4:, 2:-2] & mask[2:-2, :-4] & mask[2:-2, 4:]
    assert np.abs(around - step[1:-1, 1:-1])[1:-1, 1:-1][deep].max() <= 1
