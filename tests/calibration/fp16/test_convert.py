"""FP16 graphs: what must stay FP32 does, and the numbers prove it; everything else is float16."""

import copy
import json
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from moebius_edge.calibration.activations.amplitudes import amplitudes, float_tensors
from moebius_edge.calibration.fp16.convert import Fp16Options, to_fp16
from moebius_edge.common.errors import InvalidInput
from moebius_edge.common.tensors import Array

FEW_DIGITS = 2.0**-10  # the error of a few roundings to float16, relative


def graph(
    nodes: list[onnx.NodeProto],
    inputs: dict[str, tuple[int, ...]],
    outputs: dict[str, tuple[int, ...]],
    weights: dict[str, Any],
) -> onnx.ModelProto:
    """An FP32 model; weights are arrays or numbers."""

    def info(values: dict[str, tuple[int, ...]]) -> list[onnx.ValueInfoProto]:
        return [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in values.items()
        ]

    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()]
    made = helper.make_graph(nodes, "test", info(inputs), info(outputs), tensors)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def half(model: onnx.ModelProto, **feeds: Array) -> Array:
    """Computed operator by operator in the types of the graph: numpy's float16 rounds and overflows."""
    with np.errstate(all="ignore"):
        (found,) = ReferenceEvaluator(model).run(None, feeds)
    return found


def engine(model: onnx.ModelProto, level: int = 99, **feeds: Array) -> Array:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel(level)
    (found,) = ort.InferenceSession(model.SerializeToString(), options).run(None, feeds)
    return found


def types(model: onnx.ModelProto) -> dict[str, int]:
    """Element type of every tensor."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    values = (*inferred.input, *inferred.value_info, *inferred.output)
    return {value.name: value.type.tensor_type.elem_type for value in values}


def squares() -> onnx.ModelProto:
    """y = sqrt(x^2 + 1) * w: the square overflows, what is made of it does not."""
    nodes = [
        helper.make_node("Mul", ["x", "x"], ["square"], name="squaring"),
        helper.make_node("Add", ["square", "one"], ["sum"], name="adding"),
        helper.make_node("Sqrt", ["sum"], ["root"], name="rooting"),
        helper.make_node("Mul", ["root", "w"], ["scaled"], name="scaling"),
        helper.make_node("Neg", ["scaled"], ["y"], name="negating"),
    ]
    weights = {"one": np.float32(1), "w": np.array([0.5, 0.25, 0.125], np.float32)}
    return graph(nodes, {"x": (3,)}, {"y": (3,)}, weights)


X = np.array([300, -1000, 3], np.float32)


def test_what_overflows_stays_fp32_and_gives_the_right_numbers() -> None:
    model = squares()
    ranges = amplitudes(model, [{"x": X}])
    expected = engine(model, x=X)
    naive, _ = to_fp16(model, dict.fromkeys(ranges, 1.0))
    assert np.isinf(half(naive, x=X)).any()
    converted, report = to_fp16(model, ranges)
    np.testing.assert_allclose(half(converted, x=X), expected, rtol=FEW_DIGITS)
    assert [(kept.node, kept.op, kept.reason, kept.tensor, kept.amplitude) for kept in report.kept] == [
        ("squaring", "Mul", "overflow", "square", 1e6),
        ("adding", "Add", "overflow", "square", 1e6),
        ("rooting", "Sqrt", "overflow", "sum", 1000001.0),
    ]
    assert (report.nodes, report.weights, report.bytes, report.bytes_kept) == (5, 3, 3 * 2 + 4, 4)
    # root -> float16, y -> float32; x is used in float32 as it comes.
    assert report.casts == 2


def test_the_safety_factor_counts() -> None:
    ranges = dict.fromkeys(float_tensors(squares()), 20000.0)
    assert {kept.reason for kept in to_fp16(squares(), ranges)[1].kept} == {"overflow"}
    assert not to_fp16(squares(), ranges, Fp16Options(safety=3.0))[1].kept


def test_inputs_and_outputs_stay_float32_and_weights_become_float16() -> None:
    model = squares()
    before = model.SerializeToString()
    converted, _ = to_fp16(model, dict.fromkeys(float_tensors(model), 1.0))
    assert model.SerializeToString() == before
    assert list(converted.graph.input) == list(model.graph.input)
    assert list(converted.graph.output) == list(model.graph.output)
    assert all(tensor.data_type == TensorProto.FLOAT16 for tensor in converted.graph.initializer)
    assert {tensor.name: list(tensor.dims) for tensor in converted.graph.initializer} == {"one": [], "w": [3]}
    found = types(converted)
    assert {found[name] for name in ("square", "sum", "root", "scaled")} == {TensorProto.FLOAT16}
    casts = [node for node in converted.graph.node if node.op_type == "Cast"]
    assert [(list(node.input), list(node.output)) for node in casts] == [
        (["x"], ["x.fp16"]),
        (["y.fp16"], ["y"]),
    ]


def test_a_tensor_is_cast_once_and_a_weight_stored_once_per_type() -> None:
    model = squares()
    ranges = amplitudes(model, [{"x": X}])
    model.graph.node.extend(
        [
            helper.make_node("Mul", ["x", "w"], ["p"]),
            helper.make_node("Add", ["p", "x"], ["q"]),
            helper.make_node("Mul", ["square", "w"], ["wide"]),
        ]
    )
    ranges |= {"p": 1.0, "q": 1.0, "wide": 1e6}
    converted, _ = to_fp16(model, ranges)
    casts = [node.input[0] for node in converted.graph.node if node.op_type == "Cast"]
    assert len(casts) == len(set(casts))
    stored = {tensor.name: tensor.data_type for tensor in converted.graph.initializer}
    assert stored == {"one": TensorProto.FLOAT, "w": TensorProto.FLOAT16, "w.fp32": TensorProto.FLOAT}


def sine(size: int = 32) -> onnx.ModelProto:
    """A timestep embedding: t -> W [cos(f t), sin(f t)]."""
    frequencies = (10000.0 ** -(np.arange(size) / size)).astype(np.float32)
    nodes = [
        helper.make_node("Unsqueeze", ["t", "axis"], ["column"]),
        helper.make_node("Mul", ["column", "f"], ["angle"]),
        helper.make_node("Cos", ["angle"], ["cos"]),
        helper.make_node("Sin", ["angle"], ["sin"]),
        helper.make_node("Concat", ["cos", "sin"], ["wave"], axis=1),
        helper.make_node("Gemm", ["wave", "w"], ["y"]),
    ]
    weights = {"axis": np.array([1]), "f": frequencies[None], "w": np.eye(2 * size, dtype=np.float32)}
    return graph(nodes, {"t": (1,)}, {"y": (1, 2 * size)}, weights)


def test_the_sine_of_the_timestep_keeps_its_phase() -> None:
    model, t = sine(), np.array([981], np.float32)
    ranges, expected = amplitudes(model, [{"t": t}]), engine(model, t=t)
    naive, _ = to_fp16(model, ranges, Fp16Options(phase_error=10.0))
    assert np.abs(half(naive, t=t) - expected).max() > 0.1
    converted, report = to_fp16(model, ranges)
    assert np.abs(half(converted, t=t) - expected).max() <= 2.0**-11
    assert [(kept.op, kept.reason) for kept in report.kept] == [
        (operator, "phase") for operator in ("Unsqueeze", "Mul", "Cos", "Sin")
    ]
    assert {(kept.tensor, kept.amplitude) for kept in report.kept} == {("angle", 981.0)}


def test_a_sine_of_small_angles_is_float16() -> None:
    report = to_fp16(sine(), dict.fromkeys(float_tensors(sine()), 1.0))[1]
    assert not report.kept


def normalized(weight: float, *, leak: bool = False) -> onnx.ModelProto:
    """Conv -> Reshape -> InstanceNormalization -> Reshape; `leak`: the output sees the convolution."""
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["conv"], name="conv"),
        helper.make_node("Reshape", ["conv", "grouped"], ["groups"]),
        helper.make_node("InstanceNormalization", ["groups", "ones", "zeros"], ["normal"], epsilon=1e-5),
        helper.make_node("Reshape", ["normal", "image"], ["back"]),
        helper.make_node("Add", ["back", "conv" if leak else "x"], ["y"]),
    ]
    rng = np.random.default_rng(0)
    weights = {
        "w": (rng.standard_normal((4, 4, 1, 1)) * weight).astype(np.float32),
        "b": rng.standard_normal(4).astype(np.float32),
        "grouped": np.array([1, 2, -1]),
        "image": np.array([1, 4, 5, 5]),
        "ones": np.ones(2, np.float32),
        "zeros": np.zeros(2, np.float32),
    }
    return graph(nodes, {"x": (1, 4, 5, 5)}, {"y": (1, 4, 5, 5)}, weights)


IMAGE = np.random.default_rng(1).standard_normal((1, 4, 5, 5)).astype(np.float32)


def test_a_convolution_before_a_normalization_is_rescaled_exactly() -> None:
    model = normalized(3e4)
    ranges = amplitudes(model, [{"x": IMAGE}])
    assert ranges["conv"] > 65504
    converted, report = to_fp16(model, ranges)
    (rescaled,) = report.rescaled
    assert rescaled.node == rescaled.tensor == "conv"
    assert rescaled.amplitude == ranges["conv"]
    assert 65504 / 2 < rescaled.amplitude * rescaled.factor * 4 <= 65504
    assert not report.kept
    found = half(converted, x=IMAGE)
    # The variance of the rescaled values overflows in numpy's float16: the engine's sums are float32.
    assert found.shape == IMAGE.shape
    expected = engine(model, x=IMAGE)
    np.testing.assert_allclose(engine(converted, x=IMAGE), expected, atol=4 * FEW_DIGITS)

    # The same scaling in FP32 changes no bit of the result.
    scaled = copy.deepcopy(model)
    for tensor in scaled.graph.initializer:
        if tensor.name in ("w", "b"):
            values = numpy_helper.to_array(tensor) * np.float32(rescaled.factor)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    scaled.graph.node[2].attribute[0].f = 1e-5 * rescaled.factor**2
    np.testing.assert_array_equal(engine(scaled, x=IMAGE), expected)
    (norm,) = [node for node in converted.graph.node if node.op_type == "InstanceNormalization"]
    assert norm.attribute[0].f == scaled.graph.node[2].attribute[0].f
    assert report.small_epsilons == ("normal",)


def test_a_convolution_that_others_see_is_not_rescaled_but_kept() -> None:
    model = normalized(3e4, leak=True)
    ranges = amplitudes(model, [{"x": IMAGE}])
    converted, report = to_fp16(model, ranges)
    assert not report.rescaled
    assert [kept.op for kept in report.kept] == [
        "Conv", "Reshape", "InstanceNormalization", "Reshape", "Add",
    ]  # fmt: skip
    np.testing.assert_allclose(engine(converted, x=IMAGE), engine(model, x=IMAGE), rtol=FEW_DIGITS)
    for options in (Fp16Options(rescale=False), Fp16Options(keep=("conv",))):
        report = to_fp16(normalized(3e4), amplitudes(normalized(3e4), [{"x": IMAGE}]), options)[1]
        assert not report.rescaled
        assert [kept.op for kept in report.kept] == ["Conv", "Reshape", "InstanceNormalization", "Reshape"]


def test_what_underflows_stays_fp32_or_is_counted() -> None:
    nodes = [
        helper.make_node("Mul", ["x", "tiny"], ["a"], name="by tiny"),
        helper.make_node("Mul", ["a", "huge"], ["b"], name="by huge"),
        helper.make_node("Add", ["b", "small"], ["y"], name="plus small"),
    ]
    # 1e-8 becomes zero, 1e-6 loses bits; what is only added does no harm.
    weights = {
        "tiny": np.float32(1e-6),
        "huge": np.float32(3e3),
        "small": np.array([1e-8, 1e-6, 0], np.float32),
    }
    model = graph(nodes, {"x": (3,)}, {"y": (3,)}, weights)
    x = np.array([1.7, 2.9, 0.3], np.float32)
    converted, report = to_fp16(model, amplitudes(model, [{"x": x}]))
    assert [(kept.node, kept.reason) for kept in report.kept] == [
        ("by tiny", "underflow"),
        ("by huge", "underflow"),
    ]
    assert (report.weights, report.flushed, report.subnormal) == (3, 1, 1)
    np.testing.assert_allclose(half(converted, x=x), engine(model, x=x), rtol=FEW_DIGITS)


def test_nodes_can_be_kept_by_name_and_data_movement_follows() -> None:
    nodes = [
        helper.make_node("Neg", ["x"], ["a"], name="negating"),
        helper.make_node("Reshape", ["a", "shape"], ["b"]),
        helper.make_node("Abs", ["b"], ["y"]),
    ]
    model = graph(nodes, {"x": (4,)}, {"y": (2, 2)}, {"shape": np.array([2, 2])})
    ranges = dict.fromkeys(float_tensors(model), 1.0)
    for name in ("negating", "a"):
        report = to_fp16(model, ranges, Fp16Options(keep=(name,)))[1]
        assert [(kept.op, kept.reason) for kept in report.kept] == [("Neg", "asked"), ("Reshape", "follows")]
    with pytest.raises(InvalidInput, match="no node or tensor 'nothing'"):
        to_fp16(model, ranges, Fp16Options(keep=("nothing",)))


def test_inputs_that_must_be_float32_stay_so() -> None:
    nodes = [helper.make_node("Resize", ["x", "", "scales"], ["y"], mode="nearest")]
    scales = np.array([1, 1, 2, 2], np.float32)
    model = graph(nodes, {"x": (1, 1, 2, 2)}, {"y": (1, 1, 4, 4)}, {"scales": scales})
    converted, report = to_fp16(model, {"x": 1.0, "y": 1.0})
    assert not report.kept
    assert converted.graph.initializer[0].data_type == TensorProto.FLOAT
    x = np.ones((1, 1, 2, 2), np.float32)
    np.testing.assert_array_equal(engine(converted, x=x), np.ones((1, 1, 4, 4)))


def test_constants_and_casts_of_the_plain_export_are_converted() -> None:
    nodes = [
        helper.make_node("Constant", [], ["two"], value=numpy_helper.from_array(np.float32(2))),
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Cast", ["shape"], ["length"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["x", "two"], ["a"]),
        helper.make_node("Add", ["a", "length"], ["y"]),
    ]
    model = graph(nodes, {"x": (3,)}, {"y": (3,)}, {})
    converted, report = to_fp16(model, dict.fromkeys(float_tensors(model), 3.0))
    assert not report.kept
    assert report.casts == 2
    x = np.array([1, 2, 3], np.float32)
    np.testing.assert_array_equal(engine(converted, x=x), [5, 7, 9])


def test_ranges_must_be_complete_and_of_an_fp32_graph() -> None:
    with pytest.raises(InvalidInput, match="'square' is None"):
        to_fp16(squares(), {"x": 1.0})
    with pytest.raises(InvalidInput, match="'square' is nan"):
        to_fp16(squares(), {**dict.fromkeys(float_tensors(squares()), 1.0), "square": np.nan})
    converted, _ = to_fp16(squares(), dict.fromkeys(float_tensors(squares()), 1.0))
    with pytest.raises(InvalidInput, match="float16 weights"):
        to_fp16(converted, dict.fromkeys(float_tensors(converted), 1.0))
    for wrong in ({"safety": 0.5}, {"phase_error": 0.0}):
        with pytest.raises(InvalidInput, match=next(iter(wrong))):
            Fp16Options(**wrong)


@pytest.mark.parametrize("build", [squares, sine, lambda: normalized(1.0), lambda: normalized(3e4)])
def test_the_same_bytes_every_time_and_every_optimization_level_runs(build: Any) -> None:
    model = build()
    shape = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    name = model.graph.input[0].name
    feeds = {name: np.linspace(1, 900, int(np.prod(shape)), dtype=np.float32).reshape(shape)}
    ranges = amplitudes(model, [feeds])
    first, report = to_fp16(model, ranges)
    assert (
        first.SerializeToString() == to_fp16(build(), dict(reversed(ranges.items())))[0].SerializeToString()
    )
    json.dumps(report.to_json(), allow_nan=False)
    expected = engine(model, **feeds)
    for level in (0, 1, 2, 99):
        found = engine(first, level, **feeds)
        np.testing.assert_allclose(
            found, expected, rtol=8 * FEW_DIGITS, atol=8 * FEW_DIGITS * np.abs(expected).max()
        )


@settings(deadline=None, max_examples=25)
@given(st.lists(st.sampled_from(["Neg", "Relu", "Mul", "Reshape", "Add"]), min_size=1, max_size=8), st.data())
def test_any_mixture_of_kept_nodes_is_a_valid_graph_of_few_casts(operators: list[str], data: Any) -> None:
    nodes, before = [], "x"
    for i, operator in enumerate(operators):
        second = {"Mul": ["w"], "Add": ["x"], "Reshape": ["shape"]}.get(operator, [])
        nodes.append(helper.make_node(operator, [before, *second], [f"t{i}"]))
        before = f"t{i}"
    model = graph(nodes, {"x": (4,)}, {before: (4,)}, {"w": np.ones(4, np.float32), "shape": np.array([4])})
    keep = data.draw(st.sets(st.sampled_from([node.output[0] for node in nodes])))
    ranges = dict.fromkeys(float_tensors(model), 1.0)
    converted, report = to_fp16(model, ranges, Fp16Options(keep=tuple(sorted(keep))))
    x = np.array([1, -2, 0.5, 0], np.float32)
    np.testing.assert_array_equal(engine(converted, x=x), engine(model, x=x))
    casts = [(node.input[0], node.attribute[0].i) for node in converted.graph.node if node.op_type == "Cast"]
    assert len(casts) == len(set(casts)) == report.casts
    made_by_cast = {node.output[0] for node in converted.graph.node if node.op_type == "Cast"}
    assert not made_by_cast & {name for name, _ in casts}, "a cast of a cast"
