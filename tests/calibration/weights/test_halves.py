"""Weights stored as float16: what is computed hardly changes, and what would change is left alone."""

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from moebius_edge.calibration.activations.amplitudes import weight_bytes
from moebius_edge.calibration.weights.halves import store_halves
from moebius_edge.onnx_tools.sessions import open_session


def product(weight: np.ndarray) -> onnx.ModelProto:
    shapes = {"x": (1, weight.shape[0]), "y": (1, weight.shape[1])}
    values = {n: helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n, shape in shapes.items()}
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    graph = helper.make_graph(
        [node], "g", [values["x"]], [values["y"]], [numpy_helper.from_array(weight, "w")]
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def size(model: onnx.ModelProto) -> int:
    return sum(weight_bytes(tensor) for tensor in model.graph.initializer)


@given(st.integers(0, 2**31), st.floats(1e-2, 1e3))
@settings(max_examples=20)
def test_half_the_bytes_and_nearly_the_same_numbers(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    model = product((scale * rng.standard_normal((64, 80))).astype(np.float32))
    stored = store_halves(model)
    onnx.checker.check_model(stored, full_check=True)
    assert size(stored) * 2 == size(model)
    x = rng.standard_normal((1, 64)).astype(np.float32)
    found, exact = (open_session(each).run(None, {"x": x})[0] for each in (stored, model))
    assert np.abs(found - exact).max() < 2**-11 * np.abs(x).sum() * scale * 5


@pytest.mark.parametrize(
    "weight",
    [
        np.full((64, 80), 1e5, np.float32),  # beyond float16
        np.full((64, 80), 1e-9, np.float32),  # below it
        np.ones((8, 8), np.float32),  # not worth a node
    ],
    ids=["large", "tiny", "few"],
)
def test_what_halves_cannot_hold_stays(weight: np.ndarray) -> None:
    model = product(weight)
    assert store_halves(model) == model
