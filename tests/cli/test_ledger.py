"""`ledger`, and what `export` says of a precision."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from moebius_edge.calibration.sensitivity import Entry, Ledger
from moebius_edge.export import build

MADE = Ledger(
    weights_sha256="a" * 64,
    observer="mse",
    style="onnxruntime",
    samples=4,
    together=2.2e-4,
    entries=(Entry("up.0.conv", "Conv", True, 900, 1e-4), Entry("down.0.project", "Gemm", False, 100, 1e-4)),
)


@pytest.fixture(autouse=True)
def _measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measuring takes minutes, and tests/export does it."""
    monkeypatch.setattr(build, "measure_ledger", lambda *_: MADE)


def test_the_ledger_is_a_table_a_file_and_a_picture(moebius: Any, checkpoint: Path, tmp_path: Path) -> None:
    file, picture = tmp_path / "a.json", tmp_path / "a.png"
    answer = moebius("ledger", checkpoint, "--output", file, "--plot", picture)
    assert answer.code == 0
    assert [line.split()[0] for line in answer.out.splitlines()[1:3]] == ["up.0.conv", "down.0.project"]
    assert "40.0" in answer.out
    assert "all in INT8: 36.6 dB, their noises added: 37.0 dB" in answer.out
    assert f"--precision mixed --target-db 40 --ledger {file}" in answer.out
    assert Ledger.load(file) == MADE
    with Image.open(picture) as drawn:
        assert drawn.size[0] > 1000
    again = moebius("ledger", checkpoint, "--output", file)
    assert again.code == 2
    assert "add --overwrite" in again.err


def test_json_is_the_ledger_and_nothing_else(moebius: Any, checkpoint: Path, tmp_path: Path) -> None:
    answer = moebius("ledger", checkpoint, "--output", tmp_path / "a.json", "--json")
    assert answer.json()["entries"][0]["layer"] == "up.0.conv"
    assert answer.json()["samples"] == 4


def test_a_picture_that_cannot_be_drawn_is_refused_first(
    moebius: Any, checkpoint: Path, tmp_path: Path
) -> None:
    answer = moebius("ledger", checkpoint, "--output", tmp_path / "a.json", "--plot", tmp_path / "a.txt")
    assert answer.code == 2
    assert "is no PNG" in answer.err
    assert list(tmp_path.iterdir()) == []


def test_export_says_what_a_precision_gains_and_costs(moebius: Any, checkpoint: Path, tmp_path: Path) -> None:
    output = tmp_path / "w4.moebius"
    answer = moebius("export", checkpoint, "--precision", "w4", "--output", output)
    assert answer.code == 0
    assert "times as fast" in answer.out
    report = json.loads((output / "precision.json").read_text())["graphs"]["denoiser"]
    assert f"denoiser: {len(report['quantized'])} weights in 4 bits, {len(report['kept'])} kept" in answer.out
    # Weights by a rule in 4 bits are another model: that is a warning, and `verify` would fail.
    assert "WARNING  w4 came out worse than it should" in answer.out
    quiet = moebius(
        "export", checkpoint, "--precision", "w4", "--output", output, "--overwrite", "--no-compare"
    )
    assert quiet.code == 0
    assert "times as fast" not in quiet.out
