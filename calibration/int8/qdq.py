"""Write a QDQ graph from an FP32 graph and ranges: Q/DQ pairs around the layers, as an engine fuses them.

The arithmetic is the ONNX specification's: q = saturate(round(x / scale) + zero), x ≈ (q - zero) scale. What
a layer reads is quantized, and what a convolution gives; the sums of a matrix product may leave it as floats.
Residual additions and norms stay in FP32.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from moebius_edge.calibration.activations.observers import Range
from moebius_edge.calibration.int8.rewrite import fuse_silu, replace_input, replace_nodes, silu_range
from moebius_edge.common.errors import CalibrationError
from moebius_edge.onnx_tools.layers import Graph, Layer, find_layers

Floats = NDArray[np.float32]
INT32_MAX = 2**31 - 1
S8_LIMIT = 127  # weights are symmetric: -128 is not used
SMALLEST_SCALE = 1e-14  # of what is zero everywhere


@dataclass(frozen=True)
class QDQStyle:
    """How an engine wants its Q/DQ (measured: docs/quantization.md)."""

    signed: bool = False  # activations s8 and symmetric; else u8 with a zero point
    quantized_bias: bool = True  # int32 bias with the scale of the sums; else float
    products_as_convolutions: bool = False  # matrix products of tokens as 1x1 convolutions with channels last
    half_scales: bool = False  # scales are numbers of float16, so that floats between may have that type
    quantized_silu: bool = False  # between convolutions sigmoids and products stay quantized
    fused_silu: bool = False  # x * sigmoid(x) of floats as ONNX Runtime's QuickGelu


# ONNX Runtime: u8 by s8 is four times as fast as floats, s8 by s8 a fifth as fast as they; a ReLU disappears
# in a u8 output; its quantized convolution does 1.4 times as many products per second as its quantized Gemm,
# whose sums go through memory. TensorRT takes only symmetric s8 and no quantized bias; Core ML's own tools
# write the same; both compute float16 between, and want scales of that type.
QDQ_STYLES = {
    "onnxruntime": QDQStyle(products_as_convolutions=True, quantized_silu=True, fused_silu=True),
    "tensorrt": QDQStyle(signed=True, quantized_bias=False, half_scales=True),
    "coreml": QDQStyle(signed=True, quantized_bias=False, half_scales=True),
}


@dataclass(frozen=True)
class Scale:
    """Quantization parameters of one activation."""

    scale: np.float32
    zero: int

    @classmethod
    def of(cls, low_high: Range, style: QDQStyle) -> "Scale":
        """Choose the parameters for a range of values, widened to hold 0, which padding needs exactly."""
        low, high = min(low_high[0], 0.0), max(low_high[1], 0.0)
        if style.signed:
            return cls(np.float32(_scales(max(-low, high) / S8_LIMIT, style.half_scales)), 0)
        scale = np.float32(_scales((high - low) / 255, style.half_scales))
        return cls(scale, int(np.clip(round(-low / float(scale)), 0, 255)))


def _scales(wanted: float | Floats, half: bool) -> Floats:
    """Return the nearest numbers above zero of the type that holds scales."""
    if half:
        least = np.finfo(np.float16).smallest_subnormal
        return np.clip(wanted, least, np.finfo(np.float16).max).astype(np.float16).astype(np.float32)
    return np.maximum(wanted, SMALLEST_SCALE).astype(np.float32)


def quantize_weight(weight: Floats, axis: int, half: bool = False) -> tuple[NDArray[np.int8], Floats]:
    """Quantize to symmetric int8 per channel of `axis`; return the integers and the scales [channels].

    `half`: scales are numbers of float16.
    """
    others = tuple(i for i in range(weight.ndim) if i != axis)
    scale = _scales(np.abs(weight).max(axis=others).astype(np.float32) / np.float32(S8_LIMIT), half)
    shape = [1] * weight.ndim
    shape[axis] = -1
    integers = np.clip(np.rint(weight / scale.reshape(shape)), -S8_LIMIT, S8_LIMIT)
    return integers.astype(np.int8), scale


class QDQWriter:
    """A writer that changes one graph in place; every tensor is rounded once, however many nodes read it."""

    def __init__(self, graph: Graph, ranges: Mapping[str, Range], style: QDQStyle) -> None:
        """Prepare to rewrite `graph`; `ranges` are by tensor name."""
        self.graph, self.ranges, self.style = graph, dict(ranges), style
        self.first: list[onnx.NodeProto] = []  # nodes that only read constants
        self.after: dict[str, list[onnx.NodeProto]] = {}  # tensor -> nodes to insert after its maker
        self.constants: list[onnx.TensorProto] = []
        self.copies: dict[str, str] = {}  # tensor or weight -> its dequantized copy
        self.only_rounded: list[str] = []  # what convolutions give: nobody reads the sums themselves

    def quantize(self, layer: Layer) -> None:
        """Quantize one layer: what it reads, its weight and bias, and what a convolution gives."""
        node = self.graph.nodes[layer.node]
        as_convolution = layer.op != "Conv" and self.style.products_as_convolutions and self._read_once(layer)
        weight = numpy_helper.to_array(self.graph.weights[layer.weight]).astype(np.float32)
        integers, scales = quantize_weight(weight, layer.axis, self.style.half_scales)
        axis = layer.axis
        if as_convolution:
            integers = (integers if axis == 0 else integers.T)[:, :, None, None]
            axis = 0
        inputs = [self._rounded(node.input[0]), self._constant(layer.weight, integers, scales, axis)]
        if layer.bias is not None:
            inputs.append(self._bias(layer, scales) if self.style.quantized_bias else layer.bias)
        if as_convolution:
            self._convolution(layer, inputs)
            return
        del node.input[:]
        node.input.extend(inputs)
        if layer.op == "Conv":
            self._rounded(layer.output)
            self.only_rounded.append(layer.output)

    def _read_once(self, layer: Layer) -> bool:
        """Return whether only one node computes with the layer's sums, so that a Q/DQ pair pays.

        ONNX Runtime repeats a DequantizeLinear for every reader, on one thread; two cost more than a
        convolution saves.
        """
        given = self.graph.nodes[layer.node].output[0]
        if given != layer.output:  # a ReLU follows: ranges are known behind it only
            return False
        readers = self.graph.final_readers(given)
        silu = [node for node in readers if node.op_type == "Sigmoid"]
        return len(readers) - len(silu) == 1

    def _bias(self, layer: Layer, scales: Floats) -> str:
        """Write the bias in units of the layer's integer sums."""
        assert layer.bias is not None
        bias = numpy_helper.to_array(self.graph.weights[layer.bias]).astype(np.float64)
        sums = (self._scale(layer.source).scale * scales).astype(np.float32)
        whole = np.clip(np.rint(bias / sums), -INT32_MAX, INT32_MAX).astype(np.int32)
        return self._constant(f"{layer.name}.bias_of_sums", whole, sums, 0)

    def _convolution(self, layer: Layer, inputs: list[str]) -> None:
        """Write a product of tokens [..,K] x [K,N] as a 1x1 convolution of a picture of M x 1 pixels."""
        read, given = self.graph.nodes[layer.node].input[0], self.graph.nodes[layer.node].output[0]
        shape = self.graph.shapes[given]
        name = layer.name
        rows = int(np.prod(shape[:-1]))
        self._keep(f"{name}.picture", np.array([1, rows, 1, self.graph.shapes[read][-1]], np.int64))
        self._keep(f"{name}.tokens", np.array(shape, np.int64))
        make = helper.make_node
        nodes = [
            make("Reshape", [inputs[0], f"{name}.picture"], [f"{name}.rows"]),
            make("Transpose", [f"{name}.rows"], [f"{name}.image"], perm=[0, 3, 1, 2]),
            make("Conv", [f"{name}.image", *inputs[1:]], [f"{name}.sums"], kernel_shape=[1, 1], name=name),
            *self._pair(f"{name}.sums", f"{name}.sums.dq", self._scale(given)),
            make("Transpose", [f"{name}.sums.dq"], [f"{name}.columns"], perm=[0, 2, 3, 1]),
            make("Reshape", [f"{name}.columns", f"{name}.tokens"], [f"{given}.dq"]),
        ]
        self.after.setdefault(given, []).extend(nodes)
        self.copies[given] = f"{given}.dq"
        self.only_rounded.append(given)

    def finish(self) -> onnx.ModelProto:
        """Return the rewritten model."""
        if self.style.quantized_silu:
            self._quantize_silu()
        if self.style.fused_silu:
            fuse_silu(self.graph, keep=self.copies)
        for name in self.only_rounded:
            for reader in self.graph.readers[name]:
                replace_input(reader, name, self.copies[name])
        graph = self.graph.model.graph
        nodes = list(self.first)
        for name in (value.name for value in graph.input):
            nodes += self.after.get(name, [])
        for node in self.graph.nodes:
            nodes.append(node)
            for name in node.output:
                nodes += self.after.get(name, [])
        replace_nodes(self.graph.model, nodes, self.constants)
        return self.graph.model

    def _quantize_silu(self) -> None:
        """Keep x * sigmoid(x), and products with it, quantized where everything they read is."""
        for node in self.graph.nodes:
            if node.op_type == "Sigmoid" and self.graph.source(node.input[0]) in self.only_rounded:
                self._also(node.output[0], (0.0, 255 / 256))
            elif node.op_type == "Mul" and all(self.graph.source(x) in self.only_rounded for x in node.input):
                x = self.graph.source(node.input[0])
                gate = self.graph.maker[self.graph.source(node.input[1])]
                is_silu = gate.op_type == "Sigmoid" and self.graph.source(gate.input[0]) == x
                self._also(node.output[0], silu_range(self.ranges[x]) if is_silu else None)

    def _also(self, name: str, known: Range | None) -> None:
        """Round a tensor that no layer gives; `known`: its range, if it follows from others."""
        if name not in self.ranges and known is not None:
            self.ranges[name] = known
        if name in self.ranges:
            self._rounded(name)
            self.only_rounded.append(name)

    def _rounded(self, name: str) -> str:
        """Return a tensor's rounded copy, made once. Operators that only move values move its integers."""
        if name not in self.copies:
            self.copies[name] = copy = f"{name}.dq"
            source = self.graph.source(name)
            if name == source:
                self.after.setdefault(name, []).extend(self._pair(name, copy, self._scale(name)))
            else:
                moved = onnx.NodeProto()
                moved.CopyFrom(self.graph.maker[name])
                moved.name, moved.input[0], moved.output[0] = copy, self._rounded(moved.input[0]), copy
                self.after.setdefault(name, []).append(moved)
        return self.copies[name]

    def _scale(self, name: str) -> Scale:
        if name not in self.ranges:
            raise CalibrationError(f"there is no range for {name}; calibrate this model again")
        return Scale.of(self.ranges[name], self.style)

    def _pair(self, name: str, copy: str, scale: Scale) -> list[onnx.NodeProto]:
        zero = np.int8(scale.zero) if self.style.signed else np.uint8(scale.zero)
        parameters = [f"{name}.scale", f"{name}.zero"]
        self._keep(parameters[0], np.array(scale.scale, np.float32))
        self._keep(parameters[1], np.array(zero))
        return [
            helper.make_node("QuantizeLinear", [name, *parameters], [f"{name}.q"], name=f"{name}.q"),
            helper.make_node("DequantizeLinear", [f"{name}.q", *parameters], [copy], name=copy),
        ]

    def _constant(self, name: str, integers: NDArray[np.signedinteger], scales: Floats, axis: int) -> str:
        """Write a dequantized constant, with scales per channel of `axis`."""
        if name not in self.copies:
            self.copies[name] = copy = f"{name}.dq"
            parts = [f"{name}.q", f"{name}.scale", f"{name}.zero"]
            zeros = np.zeros(len(scales), integers.dtype)
            for part, values in zip(parts, (integers, scales, zeros), strict=True):
                self._keep(part, values)
            self.first.append(helper.make_node("DequantizeLinear", parts, [copy], name=copy, axis=axis))
        return self.copies[name]

    def _keep(self, name: str, values: NDArray[np.generic]) -> None:
        self.constants.append(numpy_helper.from_array(values, name))


def quantize(
    model: onnx.ModelProto,
    ranges: Mapping[str, Range],
    style: QDQStyle,
    *,
    names: Collection[str] | None = None,
) -> onnx.ModelProto:
    """Return a copy of `model` with its layers quantized; `names`: only these. `ranges` are by tensor.

    Raises CalibrationError when a tensor that is to be rounded has no range.
    """
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    graph = Graph(changed)
    writer = QDQWriter(graph, ranges, style)
    for name, layer in find_layers(graph).items():
        if names is None or name in names:
            writer.quantize(layer)
    return writer.finish()
