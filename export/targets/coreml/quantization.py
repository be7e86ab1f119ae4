"""Lower Q/DQ pairs: activations as quantize and dequantize, weights as constants that Core ML dequantizes."""

import numpy as np

from moebius_edge.common.tensors import Array
from moebius_edge.export.targets.coreml.lowering import Node, lowers
from moebius_edge.export.targets.coreml.tools import Var, builtin_to_string, mb

DTYPES = {"int8", "uint8"}


@lowers("QuantizeLinear")
def quantize(node: Node) -> Var:
    """Lower QuantizeLinear: q = saturate(round(x / scale) + zero), one scale for the whole tensor.

    Rounding is to the nearest, halves to even.
    """
    node.require(saturate=1)
    node.attribute("axis")  # of a scale per channel, which activations do not have
    scale, zero = node.constant(1), node.constant(2)
    if scale.size != 1 or zero.dtype.name not in DTYPES:
        node.refuse(f"it has {scale.size} scales and {zero.dtype} integers; expected one scale and 8 bits")
    return mb.quantize(
        input=node.var(0),
        scale=scale.reshape(())[()],
        zero_point=zero.reshape(())[()],
        output_dtype=zero.dtype.name,
        name=node.label,
    )


@lowers("DequantizeLinear")
def dequantize(node: Node) -> Var:
    """Lower DequantizeLinear: (q - zero) scale.

    Constants of 8 bits stay so in the file; a bias of 32 bits becomes floats.
    """
    node.attribute("axis")
    scale = node.constant(1)
    if node.array(0) is not None:
        return _stored(node, transposed=False)
    if scale.size != 1:
        node.refuse(f"it has {scale.size} scales; expected one for an activation")
    zero = node.constant(2) if node.has(2) else np.zeros((), builtin_to_string(node.var(0).dtype))
    return mb.dequantize(
        input=node.var(0), scale=scale.reshape(())[()], zero_point=zero.reshape(())[()], name=node.label
    )


def weight_of(node: Node, index: int, *, transposed: bool) -> Array | Var | None:
    """Return a constant matrix that a node reads; None where the input is none.

    It is floats, or 8-bit integers that Core ML dequantizes. `transposed`: give the matrix transposed.
    Integers are transposed before they are dequantized, because Core ML stores only what is dequantized
    directly.
    """
    made = node.array(index)
    if made is not None and made.ndim == 2:
        return np.ascontiguousarray(made.T) if transposed else made
    maker = node.maker(index)
    if maker is None or maker.op_type != "DequantizeLinear":
        return None
    source = Node(maker, node.scope)
    stored = source.array(0)
    return _stored(source, transposed=transposed) if stored is not None and stored.ndim == 2 else None


def _stored(node: Node, *, transposed: bool) -> Var:
    """Return the constant that a DequantizeLinear reads, as Core ML stores it."""
    stored, scale = node.constant(0), node.constant(1)
    axis = node.attribute("axis", 1) % max(stored.ndim, 1)
    zero = node.constant(2) if node.has(2) else np.zeros(scale.shape, stored.dtype)
    if stored.dtype.name not in DTYPES:
        return mb.const(val=_floats(stored, scale, zero, axis), name=node.label)
    if transposed:
        stored, axis = np.ascontiguousarray(stored.T), 1 - axis
    return mb.constexpr_affine_dequantize(
        quantized_data=stored,
        zero_point=zero if scale.ndim else zero.reshape(())[()],
        scale=scale if scale.ndim else scale[()],
        axis=axis,
        name=node.label,
    )


def _floats(stored: Array, scale: Array, zero: Array, axis: int) -> Array:
    shape = [1] * stored.ndim
    if scale.ndim:
        shape[axis] = -1
    made: Array = (stored.astype(scale.dtype) - zero.reshape(shape)) * scale.reshape(shape)
    return made.astype(scale.dtype)
