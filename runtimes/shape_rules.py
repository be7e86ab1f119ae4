"""Find the size of what each ONNX operator gives, from the sizes of what it reads, without computing it.

The rules follow the operators' specifications (onnx.ai/onnx/operators, and those of ONNX Runtime's own domain
com.microsoft). They are for limits: where the size depends on data, an operator has no rule.
"""

import math
from collections.abc import Callable, Sequence
from itertools import zip_longest

from moebius_edge.runtimes.onnx_file import Tensor
from moebius_edge.runtimes.shapes import Operator, Result, Shape

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
    except (ArithmeticError, LookupError, TypeError, MemoryError) as error:
        raise ValueError(f"its inputs do not fit ({type(error).__name__})") from error
    if any(side < 0 for shape in found.shapes for side in shape):
        raise ValueError("its inputs do not fit")
    return found


def broadcast(*shapes: Shape) -> Shape:
    """Return the shape of several arrays that are computed element by element. Raises ValueError."""
    sides = []
    for column in zip_longest(*(reversed(shape) for shape in shapes), fillvalue=1):
        wide = {side for side in column if side != 1} or {1}
        if len(wide) > 1:
            raise ValueError(f"its inputs do not fit together: {', '.join(map(str, map(list, shapes)))}")
        sides.append(wide.pop())
    return tuple(reversed(sides))


def _same(op: Operator) -> Result:
    return Result([op.shape()])


def _elementwise(op: Operator) -> Result:
    return Result([broadcast(*(shape for shape in op.shapes if shape is not None))])


def _matmul(op: Operator, left: int = 0, right: int = 1) -> Result:
    a, b = op.shape(left), op.shape(right)
    rows, columns = a[-2:-1], () if len(b) == 1 else b[-1:]
    if a[-1] != (b[0] if len(b) == 1 else b[-2]):
        raise ValueError(f"its inputs do not fit together: {list(a)}, {list(b)}")
    shape = (*broadcast(a[:-2], b[:-2]), *rows, *columns)
    return Result([shape], math.prod(shape) * a[-1])


def _gemm(op: Operator) -> Result:
    (m, k), (k2, n) = op.shape(0), op.shape(1)
    if op.integer("transA"):
        m, k = k, m
    if op.integer("transB"):
        k2, n = n, k2
    if k != k2:
        raise ValueError(f"its inputs do not fit together: {k}, {k2}")
    return Result([(m, n)], m * n * k)


def _einsum(op: Operator) -> Result:
    terms, arrow, wanted = str(op.node.attributes["equation"]).replace(" ", "").partition("->")
    sides: dict[str, int] = {}
    for index, term in enumerate(terms.split(",")):
        for letter, side in zip(term, op.shape(index), strict=True):
            if not letter.isalpha() or sides.setdefault(letter, side) not in (1, side):
                raise ValueError("its equation is none that is known here")
    if not arrow:
        raise ValueError("its equation is none that is known here")
    return Result([tuple(sides[letter] for letter in wanted)], math.prod(sides.values()))


def _window(op: Operator, kernel: Sequence[int]) -> Shape:
    """Return the sides of what a window of this size gives, moved over the picture."""
    picture = op.shape()[2:]
    count = len(picture)
    strides, steps = (op.integers(name) or [1] * count for name in ("strides", "dilations"))
    pads = op.integers("pads") or [0] * 2 * count
    auto = op.node.attributes.get("auto_pad", "NOTSET")
    up = op.integer("ceil_mode")
    sides = []
    for i, side in enumerate(picture):
        if auto in ("SAME_UPPER", "SAME_LOWER"):
            sides.append(-(-side // strides[i]))
            continue
        padded = side if auto == "VALID" else side + pads[i] + pads[i + count]
        room = padded - steps[i] * (kernel[i] - 1) - 1
        sides.append((-(-room // strides[i]) if up else room // strides[i]) + 1)
    return tuple(sides)


def _conv(op: Operator, weights: int = 1) -> Result:
    kernel = op.shape(weights)
    shape = (op.shape()[0], kernel[0], *_window(op, kernel[2:]))
    return Result([shape], math.prod(shape) * math.prod(kernel[1:]))


def _conv_transpose(op: Operator) -> Result:
    picture, kernel = op.shape()[2:], op.shape(1)
    count = len(picture)
    strides, steps = (op.integers(name) or [1] * count for name in ("strides", "dilations"))
    pads, extra = op.integers("pads") or [0] * 2 * count, op.integers("output_padding") or [0] * count
    sides = op.integers("output_shape") or [
        strides[i] * (side - 1) + extra[i] + steps[i] * (kernel[2 + i] - 1) + 1 - pads[i] - pads[i + count]
        for i, side in enumerate(picture)
    ]
    shape = (op.shape()[0], kernel[1] * op.integer("group", 1), *sides)
    return Result([shape], math.prod(op.shape()) * math.prod(kernel[1:]))


def _pool(op: Operator) -> Result:
    kernel = op.integers("kernel_shape") or []
    shape = (*op.shape()[:2], *_window(op, kernel))
    return Result([shape], math.prod(shape) * math.prod(kernel))


def _global_pool(op: Operator) -> Result:
    return Result([(*op.shape()[:2], *(1 for _ in op.shape()[2:]))])


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
    shape[op.integer("axis")] = 1
    return Result([tuple(shape) if op.integer("keepdims", 1) else tuple(shape[:-1])])


def _concat(op: Operator) -> Result:
    shapes = [shape for shape in op.shapes if shape is not None]
    shape, axis = list(shapes[0]), op.integer("axis")
    shape[axis] = sum(each[axis] for each in shapes)
    return Result([tuple(shape)])


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
    value = next(iter(op.node.attributes.values()))
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
    *("com.microsoft:QuantizeLinear",),
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
    **dict.fromkeys(("MaxPool", "AveragePool"), _pool),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool"), _global_pool),
    **dict.fromkeys(("DepthToSpace", "SpaceToDepth"), _depth_space),
    "Concat": _concat,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Einsum": _einsum,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "GatherElements": _like_indices,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "MatMulInteger": _matmul,
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
}
