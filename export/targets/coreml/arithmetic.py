"""Lower operators that compute each number from the numbers at its place."""

from functools import partial

import numpy as np
from onnx import TensorProto

from moebius_edge.export.targets.coreml.lowering import LOWERINGS, Node, lowers, number
from moebius_edge.export.targets.coreml.tools import Var, mb, types

# ONNX operator -> MIL operator of two, and of one.
BINARY = {"Add": "add", "Sub": "sub", "Div": "real_div"}
UNARY = {"Relu": "relu", "Sigmoid": "sigmoid", "Exp": "exp", "Sqrt": "sqrt", "Sin": "sin", "Cos": "cos"}
CASTS = {TensorProto.FLOAT: "fp32", TensorProto.FLOAT16: "fp16", TensorProto.INT32: "int32"}


def _binary(node: Node, operator: str) -> Var:
    return getattr(mb, operator)(x=node.var(0), y=node.var(1), name=node.label)


def _unary(node: Node, operator: str) -> Var:
    return getattr(mb, operator)(x=node.var(0), name=node.label)


LOWERINGS |= {onnx: partial(_binary, operator=mil) for onnx, mil in BINARY.items()}
LOWERINGS |= {onnx: partial(_unary, operator=mil) for onnx, mil in UNARY.items()}


@lowers("Mul")
def multiply(node: Node) -> Var:
    """Lower Mul; x * sigmoid(x) becomes MIL's silu.

    A sigmoid that nothing else reads is then removed as dead code.
    """
    for index in (0, 1):
        maker = node.maker(index)
        if maker is not None and maker.op_type == "Sigmoid" and maker.input[0] == node.proto.input[1 - index]:
            return mb.silu(x=node.var(1 - index), name=node.label)
    return mb.mul(x=node.var(0), y=node.var(1), name=node.label)


@lowers("com.microsoft:QuickGelu")
def quick_gelu(node: Node) -> Var:
    """Lower x sigmoid(alpha x) as silu; refuse an alpha other than 1."""
    alpha = node.attribute("alpha", 1.702)
    if alpha != 1.0:
        node.refuse(f"its alpha is {alpha}; expected 1")
    return mb.silu(x=node.var(0), name=node.label)


@lowers("Reciprocal")
def reciprocal(node: Node) -> Var:
    """Lower 1 / x as a division, because MIL's inverse adds an epsilon."""
    return mb.real_div(x=number(node.var(0), 1.0), y=node.var(0), name=node.label)


@lowers("Clip")
def clip(node: Node) -> Var:
    """Lower Clip; both ends are optional in ONNX, and a missing one is the largest number."""
    value = node.var(0)
    largest = np.finfo(types.nptype_from_builtin(value.dtype)).max
    low = node.constant(1).item() if node.has(1) else -largest
    high = node.constant(2).item() if node.has(2) else largest
    return mb.clip(x=value, alpha=number(value, low), beta=number(value, high), name=node.label)


@lowers("Cast")
def cast(node: Node) -> Var:
    """Lower Cast between floats and to int32."""
    to = node.attribute("to")
    node.attribute("saturate")  # of 8-bit floats alone
    if to not in CASTS:
        node.refuse(f"it casts to {TensorProto.DataType.Name(to)}; known are {', '.join(CASTS.values())}")
    return mb.cast(x=node.var(0), dtype=CASTS[to], name=node.label)


@lowers("Softmax")
def softmax(node: Node) -> Var:
    """Lower Softmax along one axis."""
    return mb.softmax(x=node.var(0), axis=node.attribute("axis", -1), name=node.label)
