"""Photos and masks to calibrate with."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from moebius_edge.calibration.data import CalibrationOptions, edits, packaged_photos, photo_files, strata
from moebius_edge.errors import CalibrationError


@given(st.integers(1, 40), st.data())
def test_one_step_of_each_part_of_the_loop(steps: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, steps))
    chosen = strata(steps, count, np.random.default_rng(0))
    assert len(set(chosen)) == count
    assert chosen == sorted(chosen)
    assert 0 <= chosen[0] <= chosen[-1] < steps
    for place, step in enumerate(chosen):
        assert place * steps / count - 1 < step < (place + 1) * steps / count + 1


def test_holes_of_every_size_and_the_same_ones_again() -> None:
    options = CalibrationOptions(edits=4, steps_per_edit=4)
    files = photo_files(packaged_photos())
    first, second = (list(edits(files, 64, options)) for _ in range(2))
    areas = [float(mask.mean()) for _, mask in first]
    assert areas == sorted(areas)
    assert areas[0] < 0.15
    assert areas[-1] > 0.25
    for (photo, mask), (again, same) in zip(first, second, strict=True):
        assert photo.shape == (64, 64, 3)
        assert np.array_equal(photo, again)
        assert np.array_equal(mask, same)


def test_what_cannot_be_calibrated_with_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="holds no photo"):
        photo_files(tmp_path)
    with pytest.raises(CalibrationError, match="cannot read"):
        photo_files(tmp_path / "missing")
    Image.new("RGB", (40, 40)).save(tmp_path / "fine.png")
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no photo")
    with pytest.raises(CalibrationError, match=r"broken\.jpg"):
        list(edits(photo_files(tmp_path), 32, CalibrationOptions()))


@pytest.mark.parametrize(("given_edits", "steps"), [(1, 5), (1000, 5), (12, 20), (12, 0)])
def test_impossible_amounts_are_refused(given_edits: int, steps: int) -> None:
    with pytest.raises(CalibrationError, match="expected"):
        CalibrationOptions(edits=given_edits, steps_per_edit=steps)
