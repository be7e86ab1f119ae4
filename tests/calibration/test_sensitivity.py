"""The ledger as a file."""

import json
from pathlib import Path
from typing import Any

import pytest

from moebius_edge.calibration.sensitivity import Entry, Ledger
from moebius_edge.errors import CalibrationError

LEDGER = Ledger(
    "a" * 64,
    "mse",
    "onnxruntime",
    4,
    3e-5,
    (Entry("b", "Conv", True, 90, 2e-5), Entry("a", "Gemm", False, 10, 1e-5)),
)


def test_a_ledger_comes_back_as_it_was(tmp_path: Path) -> None:
    LEDGER.save(tmp_path / "a.json")
    assert Ledger.load(tmp_path / "a.json") == LEDGER
    assert LEDGER.predicted == pytest.approx(3e-5)
    assert LEDGER.entries[0].db == pytest.approx(46.99, abs=0.01)


@pytest.mark.parametrize(
    "change",
    [
        {"format": "other"},
        {"entries": []},
        {"entries": [{"layer": "a", "op": "Conv", "depthwise": False, "macs": -1, "noise": 0.1}]},
        {"entries": [{"layer": "a", "op": "Conv", "depthwise": False, "macs": 1, "noise": "x"}]},
        {"samples": None},
        {"more": 1},
    ],
)
def test_what_is_no_ledger_is_one_sentence(tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / "a.json"
    LEDGER.save(path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(CalibrationError, match="make one with `moebius-edge ledger`"):
        Ledger.load(path)


@pytest.mark.parametrize("length", [0, 1, 100])
def test_a_cut_off_ledger_is_one_sentence(tmp_path: Path, length: int) -> None:
    path = tmp_path / "a.json"
    LEDGER.save(path)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(CalibrationError, match="is not a ledger"):
        Ledger.load(path)


def test_what_it_was_measured_for_is_compared() -> None:
    LEDGER.require("a" * 64, "mse", "onnxruntime")
    for wrong in (
        ("b" * 64, "mse", "onnxruntime"),
        ("a" * 64, "minmax", "onnxruntime"),
        ("a" * 64, "mse", "tensorrt"),
    ):
        with pytest.raises(CalibrationError, match="the ledger was measured with"):
            LEDGER.require(*wrong)
