"""Find the layers of a deploy graph that can be quantized, by their weights.

A layer is a convolution or a matrix product with a constant weight; its name is its weight's, without the
ending. Names are the same in every layout of the deploy graphs, so what is known of a layer (ranges, how
sensitive it is) holds for every target.
"""

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx

from moebius_edge.common.errors import CalibrationError
from moebius_edge.onnx_tools.attributes import attributes_of
from moebius_edge.onnx_tools.macs import Shapes, node_macs, shapes

# Operators that only move values: a range of what they read is one of what they give.
MOVES = frozenset({"Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Slice", "Expand"})
WEIGHT = re.compile(r"[._](?:conv\.)?weight$")
# A layer with fewer positions (the time embedding has one) or channels (the first and the last convolution
# have 9 and 4 on one side) is little work, and much depends on it. So with the depthwise half of the last
# convolution: alone it cost nano's INT8 denoiser more than all other layers but one (the ledger).
MIN_POSITIONS, MIN_CHANNELS = 16, 16
NEVER = frozenset({"conv_out.depthwise"})

Reason = Literal[
    "batched",  # tables of Interactive-λ and of the position scores: one small product per position
    "few positions",
    "few channels",
    "sensitive",  # one of NEVER
]


@dataclass(frozen=True)
class Layer:
    """One convolution or matrix product with a constant weight."""

    name: str  # "down.0.1.1.ffn.expand.0"
    op: str  # "Conv", "Gemm", "MatMul"
    node: int  # its place in the graph's list of nodes
    weight: str  # initializer
    bias: str | None  # initializer
    axis: int  # of the weight's output channels
    source: str  # the activation it reads, before anything that only moves values
    output: str  # the activation it makes, after a ReLU that follows directly
    depthwise: bool
    macs: int  # of one run


class Graph:
    """An ONNX graph with its links: which node makes and which ones read each tensor, and all shapes."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.nodes = list(model.graph.node)
        self.weights = {tensor.name: tensor for tensor in model.graph.initializer}
        self.shapes: Shapes = shapes(model)
        self.maker = {name: node for node in self.nodes for name in node.output}
        self.readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in self.nodes:
            for name in node.input:
                self.readers[name].append(node)

    def source(self, name: str) -> str:
        """Return the tensor whose values `name` holds, before operators that only move values."""
        while name in self.maker and self.maker[name].op_type in MOVES:
            name = self.maker[name].input[0]
        return name

    def final_readers(self, name: str) -> list[onnx.NodeProto]:
        """List the nodes that compute with the values of a tensor, behind operators that only move them."""
        found = []
        for node in self.readers[name]:
            moves = node.op_type in MOVES
            found += self.final_readers(node.output[0]) if moves else [node]
        return found

    def after_relu(self, name: str) -> str:
        """Return the output of the Relu that alone reads `name`; `name` itself when there is none."""
        readers = self.readers[name]
        alone = len(readers) == 1 and readers[0].op_type == "Relu"
        return str(readers[0].output[0]) if alone else name


def find_layers(graph: Graph) -> dict[str, Layer]:
    """Return the layers by name, in the order of the graph.

    Raises CalibrationError when two have the same name.
    """
    found: dict[str, Layer] = {}
    for index in _products(graph):
        layer = _layer(graph, index)
        if _reason(graph, layer) is not None:
            continue
        if layer.name in found:
            raise CalibrationError(
                f"the layers with the weights {found[layer.name].weight} and {layer.weight} would both be "
                f"called {layer.name}; expected a deploy graph, in which each weight is used once"
            )
        found[layer.name] = layer
    return found


def left_floats(graph: Graph) -> dict[str, Reason]:
    """Return, by weight, why the other products with a constant weight stay floats."""
    layers = [_layer(graph, index) for index in _products(graph)]
    return {layer.weight: reason for layer in layers if (reason := _reason(graph, layer)) is not None}


def _products(graph: Graph) -> list[int]:
    """List the places of the convolutions and matrix products with a constant weight."""
    return [
        index
        for index, node in enumerate(graph.nodes)
        if node.op_type in ("Conv", "Gemm", "MatMul") and node.input[1] in graph.weights
    ]


def _layer(graph: Graph, index: int) -> Layer:
    node = graph.nodes[index]
    weight = graph.weights[node.input[1]]
    attributes = attributes_of(node)
    if node.op_type == "Conv":
        axis = 0
    elif node.op_type == "Gemm":
        axis = 0 if attributes.get("transB") else 1
    else:
        axis = len(weight.dims) - 1
    return Layer(
        name=WEIGHT.sub("", weight.name),
        op=node.op_type,
        node=index,
        weight=weight.name,
        bias=node.input[2] if len(node.input) > 2 and node.input[2] in graph.weights else None,
        axis=axis,
        source=graph.source(node.input[0]),
        output=graph.after_relu(node.output[0]),
        depthwise=node.op_type == "Conv" and weight.dims[1] == 1,
        macs=node_macs(node, graph.shapes),
    )


def _reason(graph: Graph, layer: Layer) -> Reason | None:
    """Say why a product stays in floats; None when it need not."""
    sizes = graph.weights[layer.weight].dims
    if layer.op == "MatMul" and len(sizes) != 2:
        return "batched"
    if layer.macs < MIN_POSITIONS * int(np.prod(sizes)):
        return "few positions"
    if (sizes[0] if layer.depthwise else min(sizes[0], sizes[1])) < MIN_CHANNELS:
        return "few channels"
    return "sensitive" if layer.name in NEVER else None
