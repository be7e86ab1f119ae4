"""Lower convolutions and matrix products."""

from typing import Any

import numpy as np

from moebius_edge.export.targets.coreml.lowering import Node, lowers, number
from moebius_edge.export.targets.coreml.quantization import weight_of
from moebius_edge.export.targets.coreml.tools import Var, mb

LINEAR_RANK = 3  # of what `linear` takes at most


@lowers("Conv")
def conv(node: Node) -> Var:
    """Lower Conv of pictures [B,C,h,w]; the weight may be a constant in any form, quantized ones too."""
    return mb.conv(**_convolution(node))


@lowers("ConvTranspose")
def conv_transpose(node: Node) -> Var:
    """Lower ConvTranspose of pictures; the weight is [C,C'/groups,h,w] in ONNX and in MIL."""
    node.require(output_padding=[0, 0], output_shape=None)
    return mb.conv_transpose(**_convolution(node))


def _convolution(node: Node) -> dict[str, Any]:
    """Return the arguments that both kinds of convolutions have."""
    node.require(auto_pad="NOTSET")
    value = node.var(0)
    if value.rank != 4:
        node.refuse(f"its input has {value.rank} dimensions; expected pictures with 4")
    node.attribute("kernel_shape")  # the weight's own
    top, left, bottom, right = node.attribute("pads", [0, 0, 0, 0])
    return {
        "x": value,
        "weight": node.var(1),
        "bias": node.var(2) if node.has(2) else None,
        "strides": node.attribute("strides", [1, 1]),
        "pad_type": "custom",
        "pad": [top, bottom, left, right],
        "dilations": node.attribute("dilations", [1, 1]),
        "groups": node.attribute("group", 1),
        "name": node.label,
    }


@lowers("MatMul")
def matmul(node: Node) -> Var:
    """Lower MatMul; as `linear` where the second operand is a constant matrix."""
    weight = weight_of(node, 1, transposed=True)
    if weight is not None and node.var(0).rank <= LINEAR_RANK:
        return mb.linear(x=node.var(0), weight=weight, name=node.label)
    return mb.matmul(x=node.var(0), y=node.var(1), name=node.label)


@lowers("Gemm")
def gemm(node: Node) -> Var:
    """Lower x W + b with a constant W, as `linear`."""
    node.require(alpha=1.0, beta=1.0, transA=0)
    weight = weight_of(node, 1, transposed=not node.attribute("transB", 0))
    if weight is None:
        node.refuse("its input 1 is computed; expected a constant matrix")
    width = weight.shape[0]
    bias = node.var(2).val if node.has(2) else np.full(width, number(node.var(0), 0))
    if bias is None:
        node.refuse("its input 2 is computed; expected a constant")
    if bias.size not in (1, width) or bias.shape[-1:] != (bias.size,):
        node.refuse(f"its bias has the shape {list(bias.shape)}; expected [{width}]")
    bias = np.broadcast_to(bias.reshape(-1), (width,)).copy()
    return mb.linear(x=node.var(0), weight=weight, bias=bias, name=node.label)
