"""Store the large float weights of an FP32 graph as float16; the engine still computes in FP32.

An engine that folds constants casts them back when it loads. A weight is rounded by 2^-11 of itself at most,
which is less than any other rounding of a quantized model.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from moebius_edge.calibration.weights.roles import WeightOptions, select

# 10 log10 (sum of squares of a weight / of its error). Normal numbers of 1 to 1e-4 give 73, and 65 at 3e-5,
# where float16 has lost two bits (measured): tiny weights are left alone, and huge ones.
LEAST_DB = 60.0


def store_halves(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of `model` whose large float weights are stored as float16.

    Which weights count as large is as for integers: see `weights.roles`. A weight stays float32 where float16
    would leave it below `LEAST_DB`.
    """
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    graph, chosen = changed.graph, select(model, WeightOptions())[0]
    casts = []
    for tensor in graph.initializer:
        if tensor.name not in chosen:
            continue
        exact = numpy_helper.to_array(tensor)
        with np.errstate(over="ignore"):
            halves = exact.astype(np.float16)
        error = np.sum((halves.astype(np.float64) - exact) ** 2)
        if not error <= np.sum(exact.astype(np.float64) ** 2) * 10 ** (-LEAST_DB / 10):
            continue
        name = f"{tensor.name}.half"
        casts.append(helper.make_node("Cast", [name], [tensor.name], name=name, to=TensorProto.FLOAT))
        tensor.CopyFrom(numpy_helper.from_array(halves, name))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    return changed
