"""Count the multiply-accumulates of ONNX graphs with static shapes, and find the shapes of their values."""

import numpy as np
import onnx
from onnx import shape_inference

from moebius_edge.onnx_tools.attributes import attributes_of

Shapes = dict[str, tuple[int, ...]]

# Operators that multiply like Conv, MatMul or Gemm: on integers, and all.
INTEGER = {
    "QLinearConv": "Conv",
    "ConvInteger": "Conv",
    "QLinearMatMul": "MatMul",
    "MatMulInteger": "MatMul",
    "MatMulIntegerToFloat": "MatMul",
    "QGemm": "Gemm",
}
KINDS = INTEGER | {"FusedConv": "Conv", "FusedMatMul": "MatMul", "FusedGemm": "Gemm", "MatMulNBits": "MatMul"}


def count_macs(model: onnx.ModelProto) -> int:
    """Count the multiply-accumulates of the convolutions, matmuls and einsums of one run.

    An Einsum counts the product of all its index sizes, as a naive evaluation does.
    """
    known = shapes(model)
    return sum(node_macs(node, known) for node in model.graph.node)


def node_macs(node: onnx.NodeProto, known: Shapes) -> int:
    """Count the multiply-accumulates of one node, ONNX's or one that ONNX Runtime made of it.

    `known`: the shapes that `shapes` finds. 0 for operators that do not multiply and accumulate.
    """
    kind = KINDS.get(node.op_type, node.op_type)
    if kind not in ("Conv", "ConvTranspose", "MatMul", "Gemm", "Einsum"):
        return 0
    if kind == "ConvTranspose":
        return int(np.prod(known[node.input[0]])) * int(np.prod(known[node.input[1]][1:]))
    out = int(np.prod(known[node.output[0]]))
    if kind == "Conv":
        weight = 3 if node.op_type == "QLinearConv" else 1
        return out * int(np.prod(known[node.input[weight]][1:]))
    attributes = attributes_of(node)
    if kind == "MatMul":
        return out * known[node.input[0]][-2 if attributes.get("transA") else -1]
    if kind == "Gemm":
        return out * known[node.input[0]][0 if attributes.get("transA") else 1]
    terms = attributes["equation"].decode().split("->")[0].split(",")
    sizes = {
        letter: size
        for term, name in zip(terms, node.input, strict=True)
        for letter, size in zip(term.strip(), known[name], strict=True)
    }
    return int(np.prod(list(sizes.values())))


def shapes(model: onnx.ModelProto) -> Shapes:
    """Return the shape of every value and weight by name, inferred where the graph does not state it."""
    known = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    graph = shape_inference.infer_shapes(model, data_prop=True).graph
    for value in (*graph.input, *graph.value_info, *graph.output):
        known[value.name] = tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
    return known
