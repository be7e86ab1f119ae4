"""Normalizations in float64 are the engine's, and closer to the truth."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from moebius_edge.export.targets.coreml.exact_norms import with_exact_norms


def graph(shape: list[int]) -> onnx.ModelProto:
    rng = np.random.default_rng(2)
    weights = {name: rng.standard_normal(shape[1]).astype(np.float32) for name in ("w", "b")}
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "y")]
    nodes = [
        helper.make_node("InstanceNormalization", ["x", "w", "b"], ["n"], epsilon=1e-3),
        helper.make_node("Relu", ["n"], ["y"]),
    ]
    tensors = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    made = helper.make_graph(nodes, "g", ends[:1], ends[1:], tensors)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def run(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    onnx.checker.check_model(model)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0])


@pytest.mark.parametrize("shape", [[1, 4, 300], [2, 3, 7, 5], [1, 2, 1 << 20]])
def test_it_is_the_definition_in_float64(shape: list[int]) -> None:
    model = graph(shape)
    x = (np.random.default_rng(3).standard_normal(shape) + 3).astype(np.float32)
    exact = with_exact_norms(model)
    assert "InstanceNormalization" in {node.op_type for node in model.graph.node}
    assert "InstanceNormalization" not in {node.op_type for node in exact.graph.node}
    axes, column = tuple(range(2, x.ndim)), [-1] + [1] * (x.ndim - 2)
    w, b = (numpy_helper.to_array(t).astype(np.float64).reshape(column) for t in model.graph.initializer)
    wide = x.astype(np.float64)
    centred = wide - wide.mean(axes, keepdims=True)
    truth = np.maximum(centred / np.sqrt((centred**2).mean(axes, keepdims=True) + 1e-3) * w + b, 0)
    found, engine = run(exact, x), run(model, x)
    assert np.abs(found - truth).max() < 3e-7 * np.abs(truth).max()
    assert np.abs(engine - truth).max() < 1e-4 * np.abs(truth).max()
