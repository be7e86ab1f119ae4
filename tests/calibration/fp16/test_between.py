"""INT8 with float16 between: types, scales, and how close it is to the same with float32."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from moebius_edge.calibration.activations.amplitudes import amplitudes
from moebius_edge.calibration.fp16.between import halve_between, with_rounded
from moebius_edge.calibration.int8.qdq import QDQ_STYLES, quantize
from moebius_edge.checking.verify import compare
from moebius_edge.common.tensors import Array

RANGES = {"x": (-3.0, 3.0), "y": (-9.0, 9.0)}


def values(*shape: int, seed: int) -> Array:
    made: Array = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    return made


@pytest.fixture
def plain() -> onnx.ModelProto:
    """A 1x1 convolution, a transpose, a sine of its results, and weights small enough for odd scales."""
    weights = {"layer.weight": values(16, 16, 1, 1, seed=1) * 0.3, "layer.bias": values(16, seed=2)}
    weights["layer.weight"][3] *= 1e-4
    nodes = [
        helper.make_node("Conv", ["x", *weights], ["y"], name="conv"),
        helper.make_node("Transpose", ["y"], ["t"], perm=[0, 2, 3, 1]),
        helper.make_node("Sigmoid", ["t"], ["z"]),
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("x", (1, 16, 8, 8)), ("z", (1, 8, 8, 16)))
    ]
    tensors = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def run(model: onnx.ModelProto, x: Array) -> Array:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    made: Array = ort.InferenceSession(model.SerializeToString(), options).run(None, {"x": x})[0]
    return made


@pytest.mark.parametrize("style", ["tensorrt", "coreml"])
def test_floats_become_float16_and_the_numbers_stay(plain: onnx.ModelProto, style: str) -> None:
    x = values(1, 16, 8, 8, seed=3)
    quantized = quantize(plain, RANGES, QDQ_STYLES[style])
    halved, report = halve_between(quantized, amplitudes(plain, [{"x": x}]))
    assert halved.opset_import[0].version == 19 and quantized.opset_import[0].version == 18
    kinds = {tensor.name: tensor.data_type for tensor in halved.graph.initializer}
    assert TensorProto.FLOAT not in kinds.values() and kinds["layer.weight.q"] == TensorProto.INT8
    assert report.kept == () and report.casts == 2  # the input and the output
    # Scales were numbers of float16: not one weight and not one level moved.
    for name in ("x.scale", "y.scale", "layer.weight.scale"):
        before, after = (
            next(numpy_helper.to_array(t) for t in model.graph.initializer if t.name == name)
            for model in (quantized, halved)
        )
        np.testing.assert_array_equal(before, after.astype(np.float32))
    exact = run(quantized, x)
    assert compare(run(halved, x), exact).db > 45  # a sum on the edge of a level may fall to either side
    assert compare(run(halved, x), run(plain, x)).db > 40


def test_amplitudes_of_what_the_pairs_brought(plain: onnx.ModelProto) -> None:
    x = values(1, 16, 8, 8, seed=3)
    sizes = amplitudes(plain, [{"x": x}])
    found = with_rounded(quantize(plain, RANGES, QDQ_STYLES["coreml"]), sizes)
    assert found["x.dq"] == sizes["x"] and found["y.dq"] == sizes["y"]
    weight = numpy_helper.to_array(plain.graph.initializer[0])
    assert found["layer.weight.dq"] == pytest.approx(np.abs(weight).max(), rel=1e-2)
