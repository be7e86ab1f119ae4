"""The measures of what a composition is worth, on pictures whose numbers are known."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from moebius_edge.common.errors import InvalidInput
from moebius_edge.inpainter import Inpainter
from moebius_edge.training.removal import (
    SETTINGS,
    Setting,
    cases,
    compare_settings,
    edit,
    main,
    rim_contrast,
    varied,
)
from tests.test_inpainter import LATENT, FakeRuntime, R


def inpainter() -> Inpainter:
    return Inpainter(FakeRuntime(), resolution=R, latent_size=LATENT)


def test_the_border_of_an_untouched_photo_is_as_steep_as_the_photo() -> None:
    photo = np.random.default_rng(0).integers(0, 256, (120, 120, 3), dtype=np.uint8)
    mask = np.zeros((120, 120), bool)
    mask[40:80, 50:90] = True
    assert rim_contrast(photo, mask, photo) == 1
    assert rim_contrast(photo, mask, None) == pytest.approx(1, abs=0.05)


def test_a_step_at_the_border_counts() -> None:
    """8 between a pair along rows and 0 along columns; inside the mask everything is 30 more."""
    photo = np.broadcast_to(np.arange(120, dtype=np.uint8)[None, :, None], (120, 120, 3))
    mask = np.zeros((120, 120), bool)
    mask[40:80, 50:90] = True
    lifted = np.where(mask[..., None], photo + np.uint8(30), photo)
    # As many pairs cross each of the four sides: |8 + 30|, |8 - 30|, 30 and 30 against 8, 8, 0 and 0.
    assert rim_contrast(lifted, mask, photo) == pytest.approx((38 + 22 + 30 + 30) / 16)


def test_cases_are_the_samples_and_holes_of_the_wanted_sizes(tmp_path: Path) -> None:
    Image.fromarray(np.full((100, 160, 3), 90, np.uint8)).save(tmp_path / "a.png")
    found = list(cases(tmp_path, None, 5))
    assert [case.name for case in found] == ["wren", "osprey", "a 0.15", "a 0.35"]
    for case, longest in zip(found[2:], (15, 35), strict=True):
        rows, columns = np.nonzero(case.mask)
        assert max(np.ptp(rows), np.ptp(columns)) + 1 == pytest.approx(longest, abs=1)
        assert case.truth and case.mask.shape == (100, 160)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidInput, match="holds no photo"):
        list(cases(tmp_path / "empty", None, 5))


def test_the_last_row_is_the_loop_as_it_is(tmp_path: Path) -> None:
    photo = np.random.default_rng(3).integers(0, 256, (90, 130, 3), dtype=np.uint8)
    Image.fromarray(photo).save(tmp_path / "a.png")
    case = list(cases(tmp_path, None, 1))[-1]
    found = edit(inpainter(), case, SETTINGS[-1])
    assert np.array_equal(found, np.asarray(inpainter()(photo, case.mask)))
    assert not np.array_equal(found, edit(inpainter(), case, SETTINGS[0]))


def test_the_table_has_a_row_per_setting(tmp_path: Path) -> None:
    Image.fromarray(np.full((64, 64, 3), 90, np.uint8)).save(tmp_path / "a.png")
    table = compare_settings(inpainter(), list(cases(tmp_path, None, 1))[2:])
    assert table.row_count == len(SETTINGS) and len(table.columns) == 3


def test_an_option_can_be_varied() -> None:
    assert varied("guidance", "1", "1.5") == (
        Setting("guidance 1", {"guidance": 1.0}),
        Setting("guidance 1.5", {"guidance": 1.5}),
    )
    assert varied("steps", "8")[0].options == {"steps": 8}
    for words in (("blend", "feather"), ("guidnce", "1"), ("guidance",), ("guidance", "much")):
        with pytest.raises(InvalidInput, match=f"--vary {words[0]}"):
            varied(*words)


def test_main_prints_a_table_and_draws_a_sheet(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Inpainter, "load", lambda *_, **__: inpainter())
    words = ["any.moebius", "--photos", str(photos), "--masks", str(photos), "--count", "1"]
    monkeypatch.setattr("moebius_edge.training.removal.read_silhouettes", lambda _: [np.eye(9, dtype=bool)])
    main([*words, "--vary", "refine", "0", "0.5", "--sheet", str(tmp_path / "sheet.png")])
    rows = [line for line in capsys.readouterr().out.splitlines() if "refine" in line]
    assert len(rows) == 2
    # Two samples and the two holes of one photo; what is to go, and a tile for each setting.
    assert Image.open(tmp_path / "sheet.png").size == (300 * (1 + len(SETTINGS)), 300 * 4)
    with pytest.raises(SystemExit) as stop:
        main([*words, "--vary", "blend", "feather"])
    assert stop.value.code == 2 and "numeric option" in capsys.readouterr().err
