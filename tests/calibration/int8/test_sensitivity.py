"""The ledger as a file."""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from moebius_edge.calibration.int8.qdq import QDQ_STYLES
from moebius_edge.calibration.int8.sensitivity import Entry, Ledger, measure_sensitivity
from moebius_edge.common.errors import CalibrationError

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
        {"entries": [asdict(LEDGER.entries[0])] * 2},
        {"together": -1.0},
        {"samples": 0},
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


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CalibrationError, match="not a plain file"):
        Ledger.load(tmp_path / "pipe")


def test_noise_that_is_no_number_names_the_layer() -> None:
    sample = {"sample": np.ones((1, 64, 8, 8), np.float32)}
    weight = np.full((32, 64, 1, 1), 1e-3, np.float32)
    node = helper.make_node("Conv", ["sample", "a.conv.weight"], ["noise"])
    shapes = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("sample", (1, 64, 8, 8)), ("noise", (1, 32, 8, 8)))
    ]
    tensor = numpy_helper.from_array(weight, "a.conv.weight")
    model = helper.make_model(
        helper.make_graph([node], "g", shapes[:1], shapes[1:], [tensor]),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=9,
    )
    fine = {"sample": (0.0, 1.0), "noise": (0.0, 0.064)}
    (entry,), together = measure_sensitivity(model, fine, QDQ_STYLES["onnxruntime"], [sample])
    assert entry.layer == "a"
    assert 0 <= entry.noise == together < 1e-6  # of a constant output: there is no range to compare with
    beyond = {"sample": np.full((1, 64, 8, 8), np.finfo(np.float32).max)}
    tensor.CopyFrom(numpy_helper.from_array(weight * 1e3, "a.conv.weight"))
    model.graph.initializer[0].CopyFrom(tensor)
    with pytest.raises(CalibrationError, match=r"^a in INT8 gives NaN or Inf"):
        measure_sensitivity(model, fine, QDQ_STYLES["onnxruntime"], [beyond])


def test_what_it_was_measured_for_is_compared() -> None:
    LEDGER.require("a" * 64, "mse", "onnxruntime")
    for wrong in (
        ("b" * 64, "mse", "onnxruntime"),
        ("a" * 64, "minmax", "onnxruntime"),
        ("a" * 64, "mse", "tensorrt"),
    ):
        with pytest.raises(CalibrationError, match="the ledger was measured with"):
            LEDGER.require(*wrong)
