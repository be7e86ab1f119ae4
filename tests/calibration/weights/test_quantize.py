"""Weights as integers: errors within half a step, the right axes, and the same function in every form."""

import json
from typing import Any, Literal, get_args

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from moebius_edge.calibration.weights.encodings import WeightEncoding
from moebius_edge.calibration.weights.quantize import WeightOptions, WeightReport, quantize_weights
from moebius_edge.calibration.weights.scales import (
    RANGES,
    Bits,
    block_of,
    blockwise,
    fit,
    pack_nibbles,
    per_channel,
)
from moebius_edge.common.errors import InvalidInput
from moebius_edge.common.tensors import Array

Layer = Literal["conv", "gemm", "gemm transposed", "gemm A", "matmul", "matmul A", "matmul batch"]
ENCODINGS: tuple[WeightEncoding, ...] = get_args(WeightEncoding)


def random(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def graph(
    nodes: list[onnx.NodeProto], x: Array, y: tuple[int, ...], weights: dict[str, Array]
) -> onnx.ModelProto:
    info = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", x.shape), ("y", y))]
    tensors = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    made = helper.make_graph(nodes, "test", info[:1], info[1:], tensors)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def layer(kind: Layer, inner: int, outer: int) -> tuple[onnx.ModelProto, Array, int, int]:
    """One layer with a weight `w` and a bias; its input; the axes of the weight's outputs and of its sum."""
    if kind == "conv":
        node = helper.make_node("Conv", ["x", "w", "b"], ["y"], kernel_shape=[3, 3])
        x, y, w, axes = random(1, inner, 5, 4), (1, outer, 3, 2), random(outer, inner, 3, 3), (0, 1)
    elif kind == "gemm A":
        node = helper.make_node("Gemm", ["w", "x"], ["y"])
        x, y, w, axes = random(inner, 3), (outer, 3), random(outer, inner), (0, 1)
    elif kind.startswith("gemm"):
        transposed = kind.endswith("transposed")
        node = helper.make_node("Gemm", ["x", "w", "b"], ["y"], transB=int(transposed))
        w = random(outer, inner) if transposed else random(inner, outer)
        x, y, axes = random(3, inner), (3, outer), (0, 1) if transposed else (1, 0)
    elif kind == "matmul A":
        node = helper.make_node("MatMul", ["w", "x"], ["y"])
        x, y, w, axes = random(2, inner, 3), (2, outer, 3), random(outer, inner), (0, 1)
    elif kind == "matmul batch":
        node = helper.make_node("MatMul", ["x", "w"], ["y"])
        x, y, w, axes = random(2, 3, inner), (2, 3, outer), random(2, inner, outer), (2, 1)
        w[1] *= 0.001  # so that a scale per batch is better than one per output
        axes = (0, 1)
    else:
        node = helper.make_node("MatMul", ["x", "w"], ["y"])
        x, y, w, axes = random(2, 3, inner), (2, 3, outer), random(inner, outer), (1, 0)
    if kind != "matmul batch":  # channels of very different size: only the right axis represents them
        shape = [1] * w.ndim
        shape[axes[0]] = outer
        w = w * (10.0 ** np.linspace(-4, 2, outer, dtype=np.float32)).reshape(shape)
    weights = {"w": w.astype(np.float32)} | ({"b": random(outer)} if "b" in node.input else {})
    return graph([node], x, y, weights), x, *axes


def engine(model: onnx.ModelProto, x: Array, *, fold: bool = False) -> Array:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.add_session_config_entry("session.disable_quant_qdq", str(int(fold)))
    (found,) = ort.InferenceSession(model.SerializeToString(), options).run(None, {"x": x})
    return found


def weight_of(model: onnx.ModelProto, report: WeightReport) -> Array:
    """The float weight that an engine computes from the integers."""
    (entry,) = report.quantized
    only = onnx.ModelProto()
    only.CopyFrom(model)
    del only.graph.output[:], only.graph.input[:]
    only.graph.output.append(helper.make_tensor_value_info(entry.name, TensorProto.FLOAT, entry.shape))
    made = [i for i, node in enumerate(only.graph.node) if node.output[0] == entry.name]
    del only.graph.node[made[0] + 1 :]
    (found,) = ort.InferenceSession(only.SerializeToString()).run(None, {})
    return found


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("kind", get_args(Layer))
def test_every_layer_is_quantized_along_its_own_axis(
    kind: Layer, bits: Bits, encoding: WeightEncoding
) -> None:
    model, x, outer, inner = layer(kind, 32, 5)
    before = model.SerializeToString()
    found, report = quantize_weights(model, bits, WeightOptions(min_size=1, encoding=encoding))
    assert model.SerializeToString() == before
    (entry,) = report.quantized
    assert (entry.axis, entry.block) == ((outer, 0) if bits == 8 else (inner, 32))
    assert entry.db > (35 if bits == 8 else 17)
    weight = weight_of(found, report)
    assert weight.dtype == np.float32
    original = numpy_helper.to_array(model.graph.initializer[0])
    np.testing.assert_allclose(
        10 * np.log10((original**2).sum() / ((weight - original) ** 2).sum()), entry.db, rtol=1e-4
    )
    expected = onnx.ModelProto()
    expected.CopyFrom(model)
    expected.graph.initializer[0].CopyFrom(numpy_helper.from_array(weight, "w"))
    truth = engine(expected, x)
    np.testing.assert_allclose(engine(found, x, fold=True), truth, rtol=1e-5, atol=1e-6 * np.abs(truth).max())


@pytest.mark.parametrize("bits", [8, 4])
def test_both_forms_give_the_same_weights_to_the_bit(bits: Bits) -> None:
    model, *_ = layer("conv", 32, 5)
    arithmetic, by_operator = (
        weight_of(*quantize_weights(model, bits, WeightOptions(min_size=1, encoding=encoding)))
        for encoding in ENCODINGS
    )
    np.testing.assert_array_equal(arithmetic, by_operator)


@settings(deadline=None, max_examples=60)
@given(
    shape=st.lists(st.integers(1, 6), min_size=1, max_size=4).map(tuple),
    bits=st.sampled_from([8, 4]),
    exponent=st.integers(-3, 4),
    seed=st.integers(0, 9),
    data=st.data(),
)
def test_an_error_is_at_most_half_a_scale_inside_the_grid(
    shape: tuple[int, ...], bits: Bits, exponent: int, seed: int, data: Any
) -> None:
    axis = data.draw(st.integers(0, len(shape) - 1))
    weight = random(*shape, seed=seed) * np.float32(10.0**exponent)
    others = [i for i in range(len(shape)) if i != axis]
    integers, scales = per_channel(weight, axis, bits)
    assert integers.shape == weight.shape
    assert scales.shape == (shape[axis],)
    check_grid(weight, integers, np.expand_dims(scales, others), bits)
    integers, scales = blockwise(weight, axis, shape[axis], bits)
    assert scales.shape == tuple(1 if i == axis else n for i, n in enumerate(shape))
    check_grid(weight, integers, scales, bits)


def check_grid(weight: Array, integers: Array, scales: Array, bits: Bits) -> None:
    low, high = RANGES[bits]
    assert integers.dtype == np.int8
    assert integers.min() >= low
    assert integers.max() <= high
    assert (scales > 0).all()
    error = np.abs(integers.astype(np.float64) * scales - weight)
    clipped = ((integers == low) | (integers == high)) & (np.abs(weight) > np.abs(integers * scales))
    half = 0.5 * np.broadcast_to(scales, weight.shape) * (1 + 1e-5)
    assert (error[~clipped] <= half[~clipped]).all()


@pytest.mark.parametrize("bits", [8, 4])
def test_the_scale_is_better_than_the_maximum_gives(bits: Bits) -> None:
    rows = random(8, 512)
    rows[0, 0] = 12.0  # an outlier that is better clipped with 4 bits
    low, high = RANGES[bits]
    error = ((fit(rows, bits).values() - rows) ** 2).sum(axis=1)
    plain = np.maximum(rows.max(axis=1) / high, rows.min(axis=1) / low)[:, None]
    naive = ((np.clip(np.rint(rows / plain), low, high) * plain - rows) ** 2).sum(axis=1)
    assert (error <= naive * 1.001).all()
    if bits == 4:  # with 8 there is hardly anything to gain
        assert error.sum() < 0.8 * naive.sum()


@pytest.mark.parametrize("bits", [8, 4])
def test_rows_of_zeros_and_weights_on_the_grid_come_back_exactly(bits: Bits) -> None:
    low, high = RANGES[bits]
    rows = np.zeros((2, high - low + 1), np.float32)
    rows[1] = np.arange(low, high + 1) * np.float32(0.25)
    grid = fit(rows, bits)
    np.testing.assert_array_equal(grid.values(), rows)
    assert np.isfinite(grid.scales).all()


@given(st.lists(st.integers(0, 15), min_size=1, max_size=9), st.booleans())
def test_nibbles_come_apart_again(numbers: list[int], halves: bool) -> None:
    packed = pack_nibbles(np.array(numbers, np.uint8), halves=halves)
    low, high = packed & 15, packed >> 4
    apart = np.concatenate([low, high]) if halves else np.stack([low, high], axis=1).ravel()
    assert apart[: len(numbers)].tolist() == numbers
    assert len(packed) == (len(numbers) + 1) // 2


def test_a_block_divides_its_axis() -> None:
    lengths = {64: 32, 96: 32, 48: 16, 16: 16, 80: 16, 40: 40, 9: 9, 1: 1}
    assert {length: block_of(length, 32) for length in lengths} == lengths
    with pytest.raises(ValueError, match="do not divide the axis 1"):
        blockwise(random(2, 40), 1, 32, 4)


def several() -> tuple[onnx.ModelProto, Array]:
    """A depthwise convolution, a dense one, a small one, and a weight that is added as well."""
    nodes = [
        helper.make_node("Conv", ["x", "depth", "bias"], ["a"], group=64),
        helper.make_node("Conv", ["a", "dense"], ["b"]),
        helper.make_node("Conv", ["b", "small"], ["c"]),
        helper.make_node("Reshape", ["c", "flat"], ["d"]),
        helper.make_node("MatMul", ["d", "both"], ["e"]),
        helper.make_node("Add", ["e", "both"], ["f"]),
        helper.make_node("MatMul", ["f", "last"], ["y"]),
    ]
    weights = {
        "depth": random(64, 1, 9, 9),
        "bias": random(64),
        "dense": random(80, 64, 1, 1),
        "small": random(4, 80, 1, 1),
        "flat": np.array([72, 72]),
        "both": random(72, 72),
        "last": random(72, 64),
    }
    x = random(1, 64, 44, 44)
    return graph(nodes, x, (72, 64), weights), x


def test_a_report_says_what_became_of_every_weight() -> None:
    model, x = several()
    found, report = quantize_weights(model, 8, WeightOptions(keep=("last",)))
    assert [(entry.name, entry.shape, entry.axis) for entry in report.quantized] == [
        ("dense", (80, 64, 1, 1), 0)
    ]
    assert [(kept.name, kept.size, kept.reason) for kept in report.kept] == [
        ("depth", 5184, "depthwise"),
        ("small", 320, "small"),
        ("both", 5184, "shared"),
        ("last", 4608, "asked"),
    ]
    floats = 5184 + 64 + 5120 + 320 + 5184 + 4608
    assert report.fp32_bytes == 4 * floats + 16
    assert report.bytes == 4 * (floats - 5120) + 16 + 5120 + 4 * 80
    assert report.bytes_kept == 4 * (floats - 5120)
    json.dumps(report.to_json(), allow_nan=False)
    np.testing.assert_array_equal(engine(found, x).shape, (72, 64))


def test_a_weight_of_two_layers_is_stored_once() -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["a"]), helper.make_node("MatMul", ["a", "w"], ["y"])]
    x = random(3, 64)
    found, report = quantize_weights(graph(nodes, x, (3, 64), {"w": random(64, 64)}), 4)
    assert len(report.quantized) == 1
    # Four bits per weight, and 16 for the scale of 32 of them.
    assert report.bytes == 64 * 64 // 2 + 2 * 64 * 2 + report.bytes_kept + constants(found)


def constants(model: onnx.ModelProto) -> int:
    """Bytes of the numbers and shapes that the arithmetic needs."""
    names = ("sixteenth", "sixteen", "zero", "split", "shape")
    tensors = [t for t in model.graph.initializer if t.name.endswith(names)]
    return sum(numpy_helper.to_array(tensor).nbytes for tensor in tensors)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_only_int4_raises_the_opset(encoding: WeightEncoding) -> None:
    model, *_ = layer("matmul", 32, 16)
    versions = {}
    for bits in get_args(Bits):
        found, _ = quantize_weights(model, bits, WeightOptions(min_size=1, encoding=encoding))
        versions[bits] = found.opset_import[0].version
        assert found.ir_version == 10
    assert versions == {8: 18, 4: 21 if encoding == "dequantize" else 18}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("bits", [8, 4])
def test_the_same_bytes_every_time(bits: Bits, encoding: WeightEncoding) -> None:
    options = WeightOptions(encoding=encoding)
    first, second = (quantize_weights(several()[0], bits, options)[0] for _ in range(2))
    assert first.SerializeToString() == second.SerializeToString()


def test_impossible_options_are_refused() -> None:
    model, _ = several()
    with pytest.raises(InvalidInput, match="bits is 5"):
        quantize_weights(model, 5)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="no weight 'nothing'"):
        quantize_weights(model, 8, WeightOptions(keep=("nothing",)))
    wrong: list[dict[str, Any]] = [{"min_size": 0}, {"block": 24}, {"block": 8}, {"encoding": "packed"}]
    for options in wrong:
        with pytest.raises(InvalidInput, match=next(iter(options))):
            WeightOptions(**options)
