"""Turn the float parts of a QDQ graph into float16, for engines that compute in INT8 and float16."""

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import numpy_helper

from moebius_edge.calibration.fp16.convert import Fp16Report, to_fp16
from moebius_edge.common.tensors import Array

OPSET = 19  # the first whose Q/DQ take float16


def halve_between(
    quantized: onnx.ModelProto, amplitudes: Mapping[str, float]
) -> tuple[onnx.ModelProto, Fp16Report]:
    """Convert what is float in a graph of `qdq.quantize` to float16; `quantized` is not changed.

    `amplitudes`: of the graph before it was quantized (`amplitudes.amplitudes`). Scales should be numbers of
    float16 already (`QDQStyle.half_scales`): rounding them now would move every weight of a channel. The
    opset is raised to 19, the first whose Q/DQ take float16.
    """
    model = onnx.ModelProto()
    model.CopyFrom(quantized)
    for entry in model.opset_import:
        if not entry.domain:
            entry.version = max(entry.version, OPSET)
    return to_fp16(model, with_rounded(model, amplitudes))


def with_rounded(quantized: onnx.ModelProto, amplitudes: Mapping[str, float]) -> dict[str, float]:
    """Return `amplitudes` with those of the tensors that the Q/DQ pairs added, which follow from them."""
    found = dict(amplitudes)
    weights = {tensor.name: tensor for tensor in quantized.graph.initializer}
    makers = {name: node for node in quantized.graph.node for name in node.output}
    for node in quantized.graph.node:
        name = node.output[0]
        if node.op_type == "DequantizeLinear":
            stored = weights.get(node.input[0])
            if stored is not None:
                scale = numpy_helper.to_array(weights[node.input[1]])
                found[name] = _largest(numpy_helper.to_array(stored)) * _largest(scale)
            else:
                found[name] = found[makers[node.input[0]].input[0]]
        elif name not in found and node.op_type != "QuantizeLinear":  # a copy that moves rounded values
            found[name] = found[node.input[0]]
    return found


def _largest(values: Array) -> float:
    return float(np.abs(values.astype(np.float32)).max(initial=0))
