import math

import numpy as np
import pytest

from moebius_edge.training.judge import score
from moebius_edge.training.metrics import chroma, psnr, reconstruction_table
from moebius_edge.training.plain import biharmonic_fill, mean_fill


def test_psnr_of_a_known_error() -> None:
    flat = np.full((4, 4, 3), 100, dtype=np.uint8)
    assert psnr(flat, flat + np.uint8(10)) == pytest.approx(20 * math.log10(25.5))
    assert psnr(flat, flat) == math.inf
    changed = flat.copy()
    changed[0, 0] += 10
    where = np.zeros((4, 4), dtype=bool)
    where[0, 0] = True
    assert psnr(flat, changed, where) == pytest.approx(20 * math.log10(25.5))
    assert psnr(flat, changed, ~where) == math.inf


def test_chroma_is_zero_for_grey_and_largest_for_blue_and_red() -> None:
    colours = np.array([[90, 90, 90], [0, 0, 255], [255, 0, 0]], dtype=np.uint8)
    cb, cr = chroma(colours)
    assert cb == pytest.approx([0, 127.5, -43.03], abs=0.01)
    assert cr == pytest.approx([0, -20.73, 127.5], abs=0.01)


def test_plain_fills_touch_only_the_hole() -> None:
    y, x = np.mgrid[0:32, 0:32]
    photo = np.stack([4 * x, 4 * y, 2 * (x + y)], axis=-1).astype(np.uint8)
    mask = np.zeros((32, 32), dtype=bool)
    mask[10:18, 12:20] = True
    for method in (mean_fill, biharmonic_fill):
        filled = method(photo, mask)
        assert np.array_equal(filled[~mask], photo[~mask])
    assert np.array_equal(np.unique(mean_fill(photo, mask)[mask], axis=0)[0], photo[~mask].mean(0).round())
    # A plane is its own smoothest continuation.
    assert psnr(photo, biharmonic_fill(photo, mask), mask) > 45
    whole = score(photo, photo, mask)
    assert (whole["psnr"], whole["ssim"], whole["contrast"]) == (math.inf, 1.0, 1.0)
    assert whole["step"] == whole["photo_step"]
    assert score(photo, mean_fill(photo, mask), mask)["contrast"] == 0.0


def test_the_reconstruction_table_ends_with_the_mean_and_the_worst_of_each_column() -> None:
    photos = np.full((2, 4, 4, 3), 100, dtype=np.uint8)
    outputs = photos.copy()
    outputs[0] += 15
    outputs[1, ..., 2] += 20  # blue alone: Cb moves by 0.5, Cr by 0.081312 of it
    rows = reconstruction_table(["same", "same"], photos, outputs)
    assert list(rows) == ["same", "same (1)", "mean", "worst"]
    assert rows["same"]["rgb"] == pytest.approx(20 * math.log10(17))
    assert rows["same (1)"]["cb"] == pytest.approx(20 * math.log10(255 / 10))
    assert rows["worst"]["cr"] == rows["same (1)"]["cr"] == pytest.approx(20 * math.log10(255 / 1.62624))
    assert rows["worst"]["rgb"] == rows["same"]["rgb"]
