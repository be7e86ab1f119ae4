import numpy as np
import pytest

from moebius_edge.training.borders import border_step, rim_steps, step_ratio, typical_step_ratio

Y, X = np.mgrid[0:40, 0:40]
HOLE = (X >= 12) & (X < 26) & (Y >= 10) & (Y < 30)
RAMP = np.stack([5 * X, 3 * Y, 2 * X + 4 * Y], axis=-1).astype(np.uint8)


def test_ramps_have_no_step_and_a_jump_has_its_height() -> None:
    assert border_step(RAMP, HOLE) == 0
    for height in (1, 7):
        jumped = RAMP + (height * HOLE[..., None]).astype(np.uint8)
        assert np.all(rim_steps(jumped, HOLE) == height)
        # 14 columns and 20 rows enter and leave the hole.
        assert rim_steps(jumped, HOLE).shape == (68, 3)


def test_one_channel_on_one_side_counts_by_its_share() -> None:
    jumped = RAMP.copy()
    jumped[:, :12, 1] += 6  # left of the hole: 20 of 68 places, one of three channels
    assert border_step(jumped, HOLE) == pytest.approx(6 * 20 / 68 / 3)


def test_a_kink_counts_half_its_change_of_gradient() -> None:
    """Flat outside, a slope of 4 from the first pixel inside on: one of the two pixels sees it."""
    picture = np.repeat((4 * np.clip(X - 11, 0, None))[..., None], 3, axis=-1).astype(np.uint8)
    half = X >= 12
    assert np.all(rim_steps(picture, half) == 2)


def test_an_unaltered_photo_has_ratio_1() -> None:
    photo = np.random.default_rng(0).integers(0, 256, (40, 40, 3)).astype(np.uint8)
    steps = [border_step(photo, mask) for mask in (HOLE, X < 9, X + Y < 30)]
    assert step_ratio(steps, steps) == 1.0
    assert typical_step_ratio(steps, steps) == 1.0


def test_ratios_of_known_steps() -> None:
    """A seam in the sky, 3 levels beside 1, and one in a meadow, 30 beside 25."""
    assert step_ratio([3.0, 30.0], [1.0, 25.0]) == pytest.approx(33 / 26)
    assert typical_step_ratio([3.0, 30.0], [1.0, 25.0]) == pytest.approx((3.5 / 1.5 * 30.5 / 25.5) ** 0.5)


def test_holes_too_thin_for_two_pixels_have_no_step() -> None:
    assert border_step(RAMP, X == 20) == 0
