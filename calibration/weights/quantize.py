"""Store the large weights of an FP32 graph as 8- or 4-bit integers; the engine still computes in FP32.

`w8`: int8, symmetric, one scale per output channel. `w4`: int4, symmetric, one scale per block of weights
that are multiplied with neighbouring inputs. Biases, norms and small weights stay float32.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from moebius_edge.calibration.activations.amplitudes import weight_bytes
from moebius_edge.calibration.weights.encodings import Integers, dequantized, opset
from moebius_edge.calibration.weights.roles import KeptWeight, WeightOptions, WeightRole, select
from moebius_edge.calibration.weights.scales import RANGES, Bits, block_of, blockwise, per_channel
from moebius_edge.common.errors import InvalidInput
from moebius_edge.common.tensors import Array

__all__ = ["KeptWeight", "QuantizedWeight", "WeightOptions", "WeightReport", "quantize_weights"]

DEFAULTS = WeightOptions()
DB_CAP = 200.0  # of weights that lie on the grid: JSON has no infinity


@dataclass(frozen=True)
class QuantizedWeight:
    """A weight that is stored as integers."""

    name: str
    shape: tuple[int, ...]
    axis: int  # w8: the channel's; w4: along which the blocks lie
    block: int  # 0: one scale per channel
    db: float  # 10 log10 (sum of squares of the weight / of the error)


@dataclass(frozen=True)
class WeightReport:
    """What quantization did to the weights."""

    bits: Bits
    options: WeightOptions
    quantized: tuple[QuantizedWeight, ...]
    kept: tuple[KeptWeight, ...]
    fp32_bytes: int  # of all weights before
    bytes: int  # of all weights now, with the scales
    bytes_kept: int  # of them float32 as before

    def to_json(self) -> dict[str, Any]:
        """Return plain values for `json.dumps`."""
        return asdict(self)


def quantize_weights(
    model: onnx.ModelProto, bits: Bits, options: WeightOptions = DEFAULTS
) -> tuple[onnx.ModelProto, WeightReport]:
    """Store the large constant operands of Conv, Gemm and MatMul as integers; `model` is not changed.

    Equal arguments give equal bytes. Raises InvalidInput for other `bits` or an unknown name in `keep`. Only
    the encoding `dequantize` with 4 bits raises the opset, to 21.
    """
    if bits not in RANGES:
        raise InvalidInput(f"bits is {bits}; expected 8 or 4")
    weights = {t.name: t for t in model.graph.initializer if t.data_type == TensorProto.FLOAT}
    uses, kept = select(model, options)
    nodes: list[onnx.NodeProto] = []
    tensors = [tensor for tensor in model.graph.initializer if tensor.name not in uses]
    quantized = []
    for name, use in uses.items():
        integers, entry = _quantize(numpy_helper.to_array(weights[name]), use, bits, options)
        written = dequantized(integers, options.encoding)
        nodes.extend(written.nodes)
        tensors.extend(written.tensors)
        quantized.append(entry)
    result = _with(model, [*nodes, *model.graph.node], tensors, opset(options.encoding, bits))
    onnx.checker.check_model(result, full_check=True)
    report = WeightReport(
        bits=bits,
        options=options,
        quantized=tuple(quantized),
        kept=kept,
        fp32_bytes=total_bytes(model),
        bytes=total_bytes(result),
        bytes_kept=sum(weight_bytes(tensor) for name, tensor in weights.items() if name not in uses),
    )
    return result, report


def total_bytes(model: onnx.ModelProto) -> int:
    """Return the size of all weights of a graph in bytes."""
    return sum(weight_bytes(tensor) for tensor in model.graph.initializer)


def _quantize(
    weight: Array, use: WeightRole, bits: Bits, options: WeightOptions
) -> tuple[Integers, QuantizedWeight]:
    """Quantize one weight; for 8 bits along the outer axis that gives the least error."""
    candidates = []
    if bits == 8:
        for axis in use.outer:
            values, scales = per_channel(weight, axis, bits, half=options.half_scales)
            candidates.append(Integers(use.name, values, scales, axis, 0, bits))
    else:
        block = block_of(weight.shape[use.inner], options.block)
        values, scales = blockwise(weight, use.inner, block, bits)
        candidates.append(Integers(use.name, values, scales, use.inner, block, bits))
    chosen = min(candidates, key=lambda candidate: _relative_error(weight, candidate, use.inner))
    power = float(np.sum(weight**2, dtype=np.float64))
    error = float(np.sum((chosen.floats() - weight) ** 2, dtype=np.float64))
    db = 10 * math.log10(power / error) if power and error else DB_CAP
    return chosen, QuantizedWeight(use.name, tuple(weight.shape), chosen.axis, chosen.block, min(db, DB_CAP))


def _relative_error(weight: Array, integers: Integers, inner: int) -> float:
    """Return the squared error relative to the weights of the same output, averaged over the outputs.

    Absolute errors would choose an axis that loses the smaller matrices of a batch.
    """
    error = np.sum((integers.floats() - weight) ** 2, axis=inner, dtype=np.float64)
    power = np.sum(weight**2, axis=inner, dtype=np.float64)
    return float(np.mean(error / np.maximum(power, np.finfo(np.float32).tiny)))


def _with(
    model: onnx.ModelProto, nodes: list[onnx.NodeProto], tensors: list[onnx.TensorProto], least: int
) -> onnx.ModelProto:
    """Return the model with other nodes and weights, at opset `least` or newer."""
    graph = helper.make_graph(
        nodes, model.graph.name, list(model.graph.input), list(model.graph.output), tensors
    )
    # Of the operators that opset 18 allows, those that changed until 21 only learnt types and options.
    opsets = [
        helper.make_opsetid(entry.domain, max(entry.version, least) if not entry.domain else entry.version)
        for entry in model.opset_import
    ]
    result = helper.make_model(graph, opset_imports=opsets, ir_version=model.ir_version)
    result.producer_name = model.producer_name
    return result
