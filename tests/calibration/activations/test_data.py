"""Photos and masks to calibrate with."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from moebius_edge.calibration.activations.data import (
    CalibrationOptions,
    choose_samples,
    edits,
    packaged_photos,
    strata,
)
from moebius_edge.common.errors import CalibrationError
from moebius_edge.photos.reading import photo_files


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
        photo_files(tmp_path, CalibrationError)
    with pytest.raises(CalibrationError, match="cannot read"):
        photo_files(tmp_path / "missing", CalibrationError)
    Image.new("RGB", (40, 40)).save(tmp_path / "fine.png")
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no photo")
    with pytest.raises(CalibrationError, match=r"broken\.jpg"):
        list(edits(photo_files(tmp_path), 32, CalibrationOptions()))


@pytest.mark.parametrize(
    "wrong",
    [{"seed": -1}, {"seed": 2**64 - 1}, {"guidance": float("nan")}, {"guidance": float("inf")}, {"steps": 0}],
)
def test_what_the_loop_cannot_run_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(CalibrationError, match="expected"):
        CalibrationOptions(**wrong)


def test_of_many_photos_all_are_candidates_and_none_is_used_twice(tmp_path: Path) -> None:
    for number in range(30):
        Image.new("RGB", (40, 40), (number * 8, 0, 0)).save(tmp_path / f"{number:02}.png")
    (tmp_path / "._00.png").write_bytes(b"what macOS leaves")
    files = photo_files(tmp_path, CalibrationError)
    assert len(files) == 30
    used = [int(photo[0, 0, 0]) // 8 for photo, _ in edits(files, 32, CalibrationOptions())]
    assert len(set(used)) == len(used) == 12
    assert max(used) > 12


@given(st.integers(1, 12), st.integers(1, 8), st.integers(1, 20))
def test_a_few_samples_are_of_all_hole_sizes_and_all_parts_of_the_loop(
    of: int, per_edit: int, count: int
) -> None:
    samples = [{"at": np.array(divmod(place, per_edit))} for place in range(of * per_edit)]
    chosen = [tuple(sample["at"].tolist()) for sample in choose_samples(samples, count, per_edit)]
    edits_, steps = zip(*chosen, strict=True)
    assert len(set(edits_)) == min(count, of)
    assert (edits_[0], edits_[-1]) == ((0, of - 1) if len(chosen) > 1 else (0, 0))
    assert len(set(steps)) == min(len(chosen), per_edit)


@pytest.mark.parametrize(("given_edits", "steps"), [(1, 5), (1000, 5), (12, 20), (12, 0)])
def test_impossible_amounts_are_refused(given_edits: int, steps: int) -> None:
    with pytest.raises(CalibrationError, match="expected"):
        CalibrationOptions(edits=given_edits, steps_per_edit=steps)
