"""The QDQ writer against the arithmetic of the ONNX specification, done in numpy."""

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from moebius_edge.calibration.int8.qdq import QDQ_STYLES, QDQStyle, Scale, quantize, quantize_weight
from moebius_edge.calibration.int8.rewrite import silu_range
from moebius_edge.common.errors import CalibrationError
from moebius_edge.onnx_tools.layers import Graph, find_layers
from moebius_edge.onnx_tools.sessions import open_session, session_options
from moebius_edge.runtimes.onnxruntime import NO_OVERFLOW

ROWS, WIDTH, OUT = 24, 20, 32
PLAIN = QDQStyle()


def values(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def model(*nodes: onnx.NodeProto, weights: dict[str, np.ndarray], out: tuple[int, ...]) -> onnx.ModelProto:
    """A graph of one input `x` [ROWS, WIDTH] and one output `y`."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", 1, [ROWS, WIDTH])],
        [helper.make_tensor_value_info("y", 1, out)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def linear(residual: bool = False) -> onnx.ModelProto:
    weight, bias = (
        values(WIDTH, WIDTH if residual else OUT, seed=1),
        values(WIDTH if residual else OUT, seed=2),
    )
    nodes = [helper.make_node("Gemm", ["x", "a.weight", "a.bias"], ["p" if residual else "y"])]
    if residual:
        nodes.append(helper.make_node("Add", ["x", "p"], ["y"]))
    width = WIDTH if residual else OUT
    return model(*nodes, weights={"a.weight": weight, "a.bias": bias}, out=(ROWS, width))


def run(graph: onnx.ModelProto, x: np.ndarray, level: str = "ORT_DISABLE_ALL") -> np.ndarray:
    onnx.checker.check_model(graph)
    options = ort.SessionOptions()
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
    options.log_severity_level = 4
    found: np.ndarray = ort.InferenceSession(graph.SerializeToString(), options).run(None, {"x": x})[0]
    return found


def rounded(x: np.ndarray, scale: Scale, low: int = 0, high: int = 255) -> np.ndarray:
    integers = np.clip(np.rint(x / scale.scale) + scale.zero, low, high)
    return ((integers - scale.zero) * scale.scale).astype(np.float32)


def test_sums_do_not_overflow_on_a_cpu_without_vnni() -> None:
    """Two of the largest products, 255 * 127, do not fit into the 16 bits in which such a CPU adds them.

    On a CPU with VNNI this holds in any case; the entry that does it is looked for in the next test.
    """
    weights = {"a.weight": np.ones((WIDTH, OUT), np.float32), "a.bias": np.zeros(OUT, np.float32)}
    node = helper.make_node("Gemm", ["x", "a.weight", "a.bias"], ["y"])
    graph = model(node, weights=weights, out=(ROWS, OUT))
    quantized = quantize(graph, {"x": (0.0, 1.0), "y": (0.0, float(WIDTH))}, PLAIN)
    (found,) = open_session(quantized).run(None, {"x": np.ones((ROWS, WIDTH), np.float32)})
    np.testing.assert_allclose(found, WIDTH, rtol=0.01)


def test_sessions_that_compute_do_not_overflow_and_those_that_convert_are_the_same_everywhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("moebius_edge.runtimes.onnxruntime.sums_overflow", lambda: True)
    options, (key, value) = session_options(), NO_OVERFLOW
    with pytest.raises(RuntimeError, match="does not have"):
        options.get_session_config_entry(key)
    open_session(linear(), options)
    assert options.get_session_config_entry(key) == value


@given(st.floats(-50, 0), st.floats(0, 50), st.booleans(), st.booleans())
@settings(max_examples=80, deadline=None)
def test_zero_is_exact_and_the_ends_are_within_half_a_step(
    low: float, high: float, signed: bool, half: bool
) -> None:
    scale = Scale.of((low, high), replace(PLAIN, signed=signed, half_scales=half))
    assert not half or scale.scale == np.float16(scale.scale)
    limits = (-127, 127) if signed else (0, 255)
    ends = rounded(np.array([0.0, low, high], np.float32), scale, *limits)
    assert ends[0] == 0
    # A scale of float16 may be rounded down by 2^-12 of itself, 127 of which lie below the end.
    assert np.abs(ends[1:] - [low, high]).max() <= 1.05 * scale.scale


@given(st.integers(0, 1), st.integers(0, 1000), st.booleans())
@settings(max_examples=40, deadline=None)
def test_a_weight_is_off_by_at_most_half_a_step_of_its_channel(axis: int, seed: int, half: bool) -> None:
    weight = values(12, 7, seed=seed) * np.float32(10.0) ** values(1, 7, seed=seed + 1)
    integers, scales = quantize_weight(weight, axis, half)
    assert not half or (scales == scales.astype(np.float16)).all()
    shape = (-1, 1) if axis == 0 else (1, -1)
    error = np.abs(integers * scales.reshape(shape) - weight)
    # Scales of float16 below 2^-14 have fewer bits, and the largest weight may be clipped.
    assert (error <= (0.56 if half else 0.5001) * scales.reshape(shape) + (1e-5 if half else 0)).all()
    assert np.abs(integers).max() == 127


@pytest.mark.parametrize("signed", [False, True])
def test_a_product_is_that_of_the_rounded_operands(signed: bool) -> None:
    x, ends = values(ROWS, WIDTH), (-3.0, 2.5)
    style = replace(PLAIN, signed=signed, quantized_bias=False)
    found = run(quantize(linear(), {"x": ends}, style), x)
    scale = Scale.of(ends, style)
    integers, scales = quantize_weight(values(WIDTH, OUT, seed=1), 1)
    limits = (-127, 127) if signed else (0, 255)
    wanted = rounded(x, scale, *limits).astype(np.float64) @ (integers * scales) + values(OUT, seed=2)
    # Onnx's s8 has a level more, -128, which only values beyond the range reach.
    assert np.abs(found - wanted).max() < (scale.scale * 12 if signed else 1e-4)


def test_a_residual_keeps_the_floats() -> None:
    x = values(ROWS, WIDTH)
    graph = quantize(linear(residual=True), {"x": (-4.0, 4.0)}, PLAIN)
    add = next(node for node in graph.graph.node if node.op_type == "Add")
    assert "x" in add.input
    assert np.abs(run(graph, x) - run(linear(residual=True), x)).max() < 0.3


def test_as_a_convolution_only_the_output_is_rounded_besides() -> None:
    x, ranges = values(ROWS, WIDTH), {"x": (-3.0, 3.0), "y": (-20.0, 20.0)}
    plain = linear()
    plain.graph.node.append(helper.make_node("Neg", ["y"], ["z"]))
    plain.graph.output[0].name = "z"
    as_product = run(quantize(plain, ranges, PLAIN), x)
    graph = quantize(plain, ranges, replace(PLAIN, products_as_convolutions=True))
    assert "Conv" in {node.op_type for node in graph.graph.node}
    wanted = -rounded(-as_product, Scale.of(ranges["y"], PLAIN))
    close = np.abs(run(graph, x) - wanted) < 1e-4
    # A sum on the edge between two levels may fall to either side.
    assert close.mean() > 0.99
    assert np.abs(run(graph, x) - wanted).max() < 1.01 * 40 / 255


def silu_graph() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Gemm", ["x", "a.weight", "a.bias"], ["p"]),
        helper.make_node("Sigmoid", ["p"], ["s"]),
        helper.make_node("Mul", ["p", "s"], ["m"]),
        helper.make_node("Gemm", ["m", "b.weight", "b.bias"], ["q"]),
        helper.make_node("Neg", ["q"], ["y"]),
    ]
    weights = {
        "a.weight": values(WIDTH, OUT, seed=1) / 4,
        "a.bias": values(OUT, seed=2),
        "b.weight": values(OUT, WIDTH, seed=3) / 6,
        "b.bias": values(WIDTH, seed=4),
    }
    return model(*nodes, weights=weights, out=(ROWS, WIDTH))


RANGES = {"x": (-4.0, 4.0), "p": (-6.0, 6.0), "m": (-0.28, 6.0), "q": (-9.0, 9.0)}


@pytest.mark.parametrize("style", QDQ_STYLES.values(), ids=QDQ_STYLES.keys())
def test_every_style_is_close_to_the_floats(style: QDQStyle) -> None:
    x = values(ROWS, WIDTH)
    exact = run(silu_graph(), x)
    found = run(quantize(silu_graph(), RANGES, style), x)
    error = (found - exact).std() / exact.std()
    assert 0 < error < 0.04  # 28 dB: two layers of 8 bits


def test_onnx_runtime_fuses_everything_between_two_convolutions() -> None:
    graph = quantize(silu_graph(), RANGES, QDQ_STYLES["onnxruntime"])
    with_engine = run(graph, values(ROWS, WIDTH), "ORT_ENABLE_ALL")
    as_written = run(graph, values(ROWS, WIDTH))
    assert np.abs(with_engine - as_written).max() < 0.15  # the engine rounds sigmoids by a table


def test_a_lone_silu_becomes_one_operator() -> None:
    style = replace(PLAIN, fused_silu=True)
    graph = quantize(silu_graph(), RANGES, style)
    assert "QuickGelu" in {node.op_type for node in graph.graph.node}
    plain = quantize(silu_graph(), RANGES, PLAIN)
    x = values(ROWS, WIDTH)
    assert np.abs(run(graph, x) - run(plain, x)).max() < 0.05


def test_the_range_of_silu_is_that_of_its_values() -> None:
    x = np.linspace(-4, 3, 20001)
    y = x / (1 + np.exp(-x))
    assert silu_range((-4.0, 3.0)) == pytest.approx((y.min(), y.max()), abs=1e-4)
    assert silu_range((-0.5, 0.0))[0] == pytest.approx(-0.5 / (1 + np.exp(0.5)))


def test_a_tensor_without_range_is_named() -> None:
    with pytest.raises(CalibrationError, match="range for x"):
        quantize(linear(), {}, PLAIN)


def test_few_positions_and_narrow_layers_are_left() -> None:
    assert list(find_layers(Graph(linear()))) == ["a"]
    narrow = model(
        helper.make_node("MatMul", ["x", "a.weight"], ["y"]),
        weights={"a.weight": values(WIDTH, 4)},
        out=(ROWS, 4),
    )
    assert not find_layers(Graph(narrow))


@pytest.mark.parametrize("style", QDQ_STYLES.values(), ids=QDQ_STYLES)
def test_a_product_with_a_relu_behind_it_is_quantized(style: QDQStyle) -> None:
    """Its range is known behind the ReLU only."""
    weights = {"a.weight": values(WIDTH, OUT, seed=1), "a.bias": values(OUT, seed=2)}
    nodes = [helper.make_node("Gemm", ["x", *weights], ["p"]), helper.make_node("Relu", ["p"], ["y"])]
    exact = model(*nodes, weights=weights, out=(ROWS, OUT))
    quantized = quantize(exact, {"x": (-4.0, 4.0), "y": (0.0, 20.0)}, style)
    x = values(ROWS, WIDTH).clip(-4, 4)
    found, expected = run(quantized, x), run(exact, x)
    assert 0 < np.abs(found - expected).max() < 0.03 * np.ptp(expected)
