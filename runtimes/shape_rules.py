"""Find the size of what each ONNX operator gives, from the sizes of what it reads, without computing it.

The rules follow the operators' specifications (onnx.ai/onnx/operators, and those of ONNX Runtime's own domain
com.microsoft). They are for limits: where the size depends on data, an operator has no rule.
"""

import math
from collections.abc import Callable
from dataclasses import replace

from moebius_edge.runtimes.onnx_file import MAX_RANK, Tensor
from moebius_edge.runtimes.shape_products import (
    broadcast,
    conv,
    conv_transpose,
    einsum,
    fused_matmul,
    gemm,
    global_pool,
    matmul,
    matmul_4_bits,
    pool,
    quantized,
    quantized_conv,
)
from moebius_edge.runtimes.shapes import Operator, Result

Rule = Callable[[Operator], Result]


def result(operator: Operator) -> Result:
    """Return the sizes of an operator's outputs.

    Raises ValueError for one that has no rule here, whose inputs do not fit, or whose size is computed.
    """
    rule = RULES.get(operator.node.kind)
    if rule is None:
        raise ValueError("it is not among the operators whose sizes are known here")
    try:
        found = rule(operator)
    except ValueError:
        raise
    except Exception as error:  # whatever a file makes of a rule by what it leaves away, or has too much of
        raise ValueError(f"its inputs do not fit ({type(error).__name__})") from error
    if any(len(shape) > MAX_RANK or min(shape, default=0) < 0 for shape in found.shapes):
        raise ValueError("its inputs do not fit")
    return found


def _same(op: Operator) -> Result:
    return Result([op.shape()])


def _elementwise(op: Operator) -> Result:
    return Result([broadcast(*(shape for shape in op.shapes if shape is not None))])


def _reshape(op: Operator) -> Result:
    shape, wanted = op.shape(), list(op.integers("shape", 1) or [])
    if not op.integer("allowzero"):
        wanted = [shape[i] if side == 0 else side for i, side in enumerate(wanted)]
    rest = math.prod(side for side in wanted if side != -1)
    if -1 in wanted:
        wanted[wanted.index(-1)] = math.prod(shape) // rest if rest else 0
    if math.prod(wanted) != math.prod(shape):
        raise ValueError(f"{list(shape)} cannot become {wanted}")
    return Result([tuple(wanted)])


def _flatten(op: Operator) -> Result:
    shape, axis = op.shape(), op.integer("axis", 1)
    return Result([(math.prod(shape[:axis]), math.prod(shape[axis:]))])


def _transpose(op: Operator) -> Result:
    shape = op.shape()
    order = op.integers("perm") or list(reversed(range(len(shape))))
    if sorted(order) != list(range(len(shape))):
        raise ValueError("its inputs do not fit")
    return Result([tuple(shape[i] for i in order)])


def _axes(op: Operator, rank: int, index: int = 1) -> list[int]:
    return [axis % rank if -rank <= axis < rank else rank for axis in op.integers("axes", index) or []]


def _unsqueeze(op: Operator) -> Result:
    axes = op.integers("axes", 1) or []
    rest = iter(op.shape())
    rank = len(op.shape()) + len(axes)
    axes = [axis % rank for axis in axes]
    return Result([tuple(1 if i in axes else next(rest) for i in range(rank))])


def _squeeze(op: Operator) -> Result:
    shape = op.shape()
    axes = _axes(op, len(shape)) or [i for i, side in enumerate(shape) if side == 1]
    if any(shape[axis] != 1 for axis in axes):
        raise ValueError("its inputs do not fit")
    return Result([tuple(side for i, side in enumerate(shape) if i not in axes)])


def _reduce(op: Operator) -> Result:
    shape = op.shape()
    axes = _axes(op, len(shape)) if shape else []
    if not axes and not op.integer("noop_with_empty_axes"):
        axes = list(range(len(shape)))
    if op.integer("keepdims", 1):
        return Result([tuple(1 if i in axes else side for i, side in enumerate(shape))])
    return Result([tuple(side for i, side in enumerate(shape) if i not in axes)])


def _arg(op: Operator) -> Result:
    shape = list(op.shape())
    axis = op.integer("axis") % len(shape)
    shape[axis : axis + 1] = [1] if op.integer("keepdims", 1) else []
    return Result([tuple(shape)])


def _concat(op: Operator) -> Result:
    shapes = [shape for shape in op.shapes if shape is not None]
    shape, axis = list(shapes[0]), op.integer("axis")
    shape[axis] = sum(each[axis] for each in shapes)
    return Result([tuple(shape)])


def _quantized_concat(op: Operator) -> Result:
    return _concat(replace(op, shapes=op.shapes[2::3]))  # after its own scale and zero point


def _split(op: Operator) -> Result:
    shape, axis = list(op.shape()), op.integer("axis")
    outputs = len(op.node.outputs)
    whole = shape[axis]
    sides = op.integers("split", 1)
    if sides is None:
        part = -(-whole // op.integer("num_outputs", outputs))
        sides = [min(part, max(0, whole - i * part)) for i in range(outputs)]
    if sum(sides) != whole or len(sides) != outputs:
        raise ValueError("its inputs do not fit")
    return Result([(*shape[:axis], side, *shape[axis % len(shape) + 1 :]) for side in sides])


def _slice(op: Operator) -> Result:
    shape = list(op.shape())
    starts, ends = op.integers("starts", 1) or [], op.integers("ends", 2) or []
    axes = op.integers("axes", 3) or list(range(len(starts)))
    steps = op.whole(4) if op.has(4) else [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        shape[axis] = len(range(*slice(start, end, step).indices(shape[axis])))
    return Result([tuple(shape)])


def _gather(op: Operator) -> Result:
    shape, axis = op.shape(), op.integer("axis")
    return Result([(*shape[:axis], *op.shape(1), *shape[axis % len(shape) + 1 :])])


def _like_indices(op: Operator) -> Result:
    return Result([op.shape(1)])


def _expand(op: Operator) -> Result:
    return Result([broadcast(op.shape(), tuple(op.whole(1)))])


def _tile(op: Operator) -> Result:
    return Result([tuple(s * n for s, n in zip(op.shape(), op.whole(1), strict=True))])


def _pad(op: Operator) -> Result:
    shape = list(op.shape())
    pads, axes = op.integers("pads", 1) or [], op.integers("axes", 3) or list(range(len(shape)))
    for i, axis in enumerate(axes):
        shape[axis] += pads[i] + pads[i + len(axes)]
    return Result([tuple(shape)])


def _constant_of_shape(op: Operator) -> Result:
    return Result([tuple(op.whole(0))])


def _constant(op: Operator) -> Result:
    (value,) = op.node.attributes.values()
    if isinstance(value, Tensor):
        return Result([value.dims])
    return Result([(len(value),) if isinstance(value, list) else ()])


def _range(op: Operator) -> Result:
    start, limit, step = (op.stored(i)[0] for i in range(3))
    return Result([(max(0, math.ceil((limit - start) / step)),)])


def _resize(op: Operator) -> Result:
    if op.has(3):
        sizes = op.whole(3)
    else:
        sizes = [int(side * scale) for side, scale in zip(op.shape(), op.stored(2), strict=True)]
    if len(sizes) != len(op.shape()) or op.integers("axes") is not None:
        raise ValueError("it is of a kind that is not known here")
    return Result([tuple(sizes)])


def _shape_of(op: Operator) -> Result:
    return Result([(len(op.shape()),)])


def _depth_space(op: Operator) -> Result:
    n, c, h, w = op.shape()
    b = op.integer("blocksize", 1)
    if op.node.kind == "DepthToSpace":
        return Result([(n, c // b // b, h * b, w * b)])
    return Result([(n, c * b * b, h // b, w // b)])


SAME = (  # as large as the first input
    *("Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "BatchNormalization", "BitwiseNot", "Cast"),
    *("CastLike", "Ceil", "Celu", "Clip", "Cos", "Cosh", "CumSum", "DequantizeLinear", "Dropout", "Elu"),
    *("Erf", "Exp", "Floor", "Gelu", "GroupNormalization", "HardSigmoid", "HardSwish", "Hardmax", "Identity"),
    *("InstanceNormalization", "IsInf", "IsNaN", "LRN", "LayerNormalization", "LeakyRelu", "Log"),
    *("LogSoftmax", "LpNormalization", "MeanVarianceNormalization", "Mish", "Neg", "Not", "PRelu"),
    *("QuantizeLinear", "RMSNormalization", "Reciprocal", "Relu", "Round", "ScatterElements", "ScatterND"),
    *("Selu", "Shrink", "Sigmoid", "Sign", "Sin", "Sinh", "Softmax", "Softplus", "Softsign", "Sqrt"),
    *("Swish", "Tan", "Tanh", "ThresholdedRelu", "Trilu", "com.microsoft:BiasGelu", "com.microsoft:FastGelu"),
    *("com.microsoft:Gelu", "com.microsoft:QuickGelu", "com.microsoft:DequantizeLinear"),
    *("com.microsoft:QuantizeLinear", "com.microsoft:QLinearLeakyRelu", "com.microsoft:QLinearSigmoid"),
    *("com.microsoft:QLinearSoftmax",),
)
ELEMENTWISE = (  # as large as the inputs together
    *("Add", "And", "BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Div", "Equal", "Greater"),
    *("GreaterOrEqual", "Less", "LessOrEqual", "Max", "Mean", "Min", "Mod", "Mul", "Or", "Pow", "Sub", "Sum"),
    *("Where", "Xor"),
)
REDUCED = (
    *("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin"),
    *("ReduceProd", "ReduceSum", "ReduceSumSquare"),
)
RULES: dict[str, Rule] = {
    **dict.fromkeys(SAME, _same),
    **dict.fromkeys(ELEMENTWISE, _elementwise),
    **dict.fromkeys(REDUCED, _reduce),
    **dict.fromkeys(("ArgMax", "ArgMin"), _arg),
    **dict.fromkeys(("MaxPool", "AveragePool"), pool),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool"), global_pool),
    **dict.fromkeys(("DepthToSpace", "SpaceToDepth"), _depth_space),
    "Concat": _concat,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "Einsum": einsum,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "GatherElements": _like_indices,
    "Gemm": gemm,
    "MatMul": matmul,
    "MatMulInteger": matmul,
    "Pad": _pad,
    "Range": _range,
    "Reshape": _reshape,
    "Resize": _resize,
    "Shape": _shape_of,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "QLinearConv": quantized_conv,
    "QLinearMatMul": quantized(matmul),
    "com.microsoft:FusedConv": conv,
    "com.microsoft:FusedMatMul": fused_matmul,
    "com.microsoft:MatMulNBits": matmul_4_bits,
    "com.microsoft:QGemm": quantized(gemm),
    "com.microsoft:QLinearAdd": quantized(_elementwise),
    "com.microsoft:QLinearConcat": _quantized_concat,
    "com.microsoft:QLinearConv": quantized_conv,
    "com.microsoft:QLinearMul": quantized(_elementwise),
}
