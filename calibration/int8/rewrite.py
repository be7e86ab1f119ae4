"""Change ONNX graphs in small ways: the steps that the QDQ writer is made of."""

import math
from collections.abc import Container

import onnx
from onnx import helper

from moebius_edge.calibration.activations.observers import Range
from moebius_edge.onnx_tools.layers import Graph

MICROSOFT = "com.microsoft"  # the domain of ONNX Runtime's own operators


def silu_range(ends: Range) -> Range:
    """Return the range of x * sigmoid(x) for x in `ends`, widened to hold 0.

    The function falls to -0.2785 at x = -1.2785 and rises from there.
    """
    values = [x / (1 + math.exp(-max(x, -60.0))) for x in (*ends, min(max(-1.2785, ends[0]), ends[1]))]
    return min(*values, 0.0), max(*values, 0.0)


def fuse_silu(graph: Graph, keep: Container[str]) -> None:
    """Write x * sigmoid(x) as one QuickGelu (com.microsoft, alpha 1), except for sigmoids in `keep`.

    ONNX Runtime fuses the two by itself, but not behind a DequantizeLinear, which it repeats per reader.
    """
    fused = False
    for node in graph.nodes:
        makers = [graph.maker.get(name) for name in node.input]
        if node.op_type != "Mul" or not any(
            maker is not None and maker.op_type == "Sigmoid" for maker in makers
        ):
            continue
        place = next(i for i, maker in enumerate(makers) if maker is not None and maker.op_type == "Sigmoid")
        sigmoid = makers[place]
        assert sigmoid is not None
        if sigmoid.output[0] in keep:
            continue
        if sigmoid.input[0] == node.input[1 - place] and len(graph.readers[sigmoid.output[0]]) == 1:
            read = sigmoid.input[0]
            node.op_type, node.domain = "QuickGelu", MICROSOFT
            del node.input[:]
            node.input.append(read)
            node.attribute.append(helper.make_attribute("alpha", 1.0))
            fused = True
    if fused and all(entry.domain != MICROSOFT for entry in graph.model.opset_import):
        graph.model.opset_import.append(helper.make_opsetid(MICROSOFT, 1))


def replace_nodes(
    model: onnx.ModelProto, nodes: list[onnx.NodeProto], constants: list[onnx.TensorProto]
) -> None:
    """Give a model these nodes, in order, and these constants; drop what nothing reads any more."""
    needed = {value.name for value in model.graph.output}
    kept: list[onnx.NodeProto] = []
    for node in reversed(nodes):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(node.input)
    weights = [tensor for tensor in (*model.graph.initializer, *constants) if tensor.name in needed]
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(reversed(kept))
    model.graph.initializer.extend(weights)


def replace_input(node: onnx.NodeProto, old: str, new: str) -> None:
    """Let a node read `new` in every place where it read `old`."""
    for place, name in enumerate(node.input):
        if name == old:
            node.input[place] = new
