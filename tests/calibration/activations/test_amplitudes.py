"""Ranges of tensors: right numbers, and clear errors."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from moebius_edge.calibration.activations.amplitudes import amplitudes
from moebius_edge.common.errors import ExportError, InvalidInput, NotFinite


def chain() -> onnx.ModelProto:
    """x [2,3] -> a = 3 x -> b = -a -> y = sqrt(|b|)."""
    nodes = [
        helper.make_node("Mul", ["x", "three"], ["a"]),
        helper.make_node("Neg", ["a"], ["b"]),
        helper.make_node("Abs", ["b"], ["c"]),
        helper.make_node("Sqrt", ["c"], ["y"]),
        helper.make_node("Shape", ["y"], ["shape"]),
    ]
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 3]) for name in "xy"]
    weights = [numpy_helper.from_array(np.float32(3), "three")]
    graph = helper.make_graph(nodes, "chain", info[:1], info[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


SAMPLES = [
    {"x": np.array([[1, 2, -3], [0, 1, 1]], np.float32)},
    {"x": np.array([[12, 0, 0], [0, 0, 0]], np.float32)},
]


def test_the_largest_magnitude_over_all_samples() -> None:
    calls: list[tuple[int, int]] = []
    found = amplitudes(chain(), SAMPLES, lambda *done: calls.append(done))
    assert found == {"x": 12.0, "a": 36.0, "b": 36.0, "c": 36.0, "y": 6.0}
    assert calls == [(1, 2), (2, 2)]


def test_nan_is_an_error_that_names_the_tensor_and_the_sample() -> None:
    model = chain()
    del model.graph.node[2]
    model.graph.node[2].input[0] = "b"  # the square root of a negative number
    with pytest.raises(NotFinite, match=r"'y'.*sample 1"):
        amplitudes(model, [{"x": np.full((2, 3), -1, np.float32)}, {"x": np.ones((2, 3), np.float32)}])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 2, 5])
def test_what_is_not_finite_is_seen_wherever_it_is(value: float, place: int) -> None:
    x = np.arange(6, dtype=np.float32)
    x[place] = value
    with pytest.raises(NotFinite, match=r"'x'.*sample 0"):
        amplitudes(chain(), [{"x": x.reshape(2, 3)}])


def test_samples_must_be_there_and_fit() -> None:
    with pytest.raises(InvalidInput, match="no samples"):
        amplitudes(chain(), [])
    with pytest.raises(InvalidInput, match=r"\['z'\]; expected \['x'\]"):
        amplitudes(chain(), [{"z": np.zeros((2, 3), np.float32)}])


def test_control_flow_is_refused() -> None:
    model = chain()
    branch = helper.make_graph([], "branch", [], [])
    model.graph.node[1].CopyFrom(helper.make_node("If", ["a"], ["b"], then_branch=branch, else_branch=branch))
    with pytest.raises(ExportError, match="control flow"):
        amplitudes(model, SAMPLES)


def test_shapes_must_be_fixed() -> None:
    model = chain()
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    with pytest.raises(ExportError, match="the shape of 'x' is not fixed"):
        amplitudes(model, SAMPLES)
