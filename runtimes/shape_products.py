"""The rules of operators that multiply: products, convolutions and windows. See `shape_rules`."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import zip_longest

from moebius_edge.runtimes.shapes import Operator, Result, Shape


def broadcast(*shapes: Shape) -> Shape:
    """Return the shape of several arrays that are computed element by element. Raises ValueError."""
    sides = []
    for column in zip_longest(*(reversed(shape) for shape in shapes), fillvalue=1):
        wide = {side for side in column if side != 1} or {1}
        if len(wide) > 1:
            raise ValueError(f"its inputs do not fit together: {', '.join(map(str, map(list, shapes)))}")
        sides.append(wide.pop())
    return tuple(reversed(sides))


def matmul(op: Operator) -> Result:
    """Follow MatMul, for two inputs."""
    a, b = op.shape(0), op.shape(1)
    rows, columns = a[-2:-1], () if len(b) == 1 else b[-1:]
    if a[-1] != (b[0] if len(b) == 1 else b[-2]):
        raise ValueError(f"its inputs do not fit together: {list(a)}, {list(b)}")
    shape = (*broadcast(a[:-2], b[:-2]), *rows, *columns)
    return Result([shape], math.prod(shape) * a[-1])


def fused_matmul(op: Operator) -> Result:
    """Follow com.microsoft:FusedMatMul: MatMul of inputs whose sides are put in another order before."""
    pair = []
    for index, letter in enumerate("AB"):
        shape = op.shape(index)
        if op.integer(f"transBatch{letter}") and len(shape) > 1:  # the first side, to the last but one
            shape = (*shape[1:-1], shape[0], shape[-1])
        if op.integer(f"trans{letter}") and len(shape) > 1:
            shape = (*shape[:-2], shape[-1], shape[-2])
        pair.append(shape)
    return matmul(replace(op, shapes=pair))


def matmul_4_bits(op: Operator) -> Result:
    """Follow com.microsoft:MatMulNBits, whose second input, K x N numbers, is stored in few bits."""
    shape, k, n = op.shape(), op.integer("K"), op.integer("N")
    bits = op.integer("bits", 4)
    if shape[-1] != k or not 0 < bits <= 8 or math.prod(op.shape(1)) * 8 < k * n * bits:
        raise ValueError(f"its inputs do not fit together: {list(shape)}, {k} x {n}")
    return Result([(*shape[:-1], n)], math.prod(shape) * n)


def gemm(op: Operator) -> Result:
    """Follow Gemm."""
    (m, k), (k2, n) = op.shape(0), op.shape(1)
    if op.integer("transA"):
        m, k = k, m
    if op.integer("transB"):
        k2, n = n, k2
    if k != k2:
        raise ValueError(f"its inputs do not fit together: {k}, {k2}")
    return Result([(m, n)], m * n * k)


def einsum(op: Operator) -> Result:
    """Follow Einsum, without ellipses and implied outputs."""
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


def conv(op: Operator) -> Result:
    """Follow Conv."""
    kernel = op.shape(1)
    shape = (op.shape()[0], kernel[0], *_window(op, kernel[2:]))
    return Result([shape], math.prod(shape) * math.prod(kernel[1:]))


def conv_transpose(op: Operator) -> Result:
    """Follow ConvTranspose."""
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


def quantized(rule: Callable[[Operator], Result]) -> Callable[[Operator], Result]:
    """Return the rule of an operator that reads each array with its scale and zero point (QLinear...)."""

    def follow(op: Operator) -> Result:
        return rule(replace(op, shapes=[op.shape(0), op.shape(3)]))

    return follow


def quantized_conv(op: Operator) -> Result:
    """Follow QLinearConv; that of com.microsoft can have the channels of pictures last."""
    picture, last = op.shape(), op.integer("channels_last")
    if last:
        picture = (picture[0], picture[-1], *picture[1:-1])
    found = conv(replace(op, shapes=[picture, op.shape(3)]))
    (shape,) = found.shapes
    return Result([(shape[0], *shape[2:], shape[1])] if last else [shape], found.work)


def pool(op: Operator) -> Result:
    """Follow MaxPool and AveragePool."""
    kernel = op.integers("kernel_shape") or []
    shape = (*op.shape()[:2], *_window(op, kernel))
    return Result([shape], math.prod(shape) * math.prod(kernel))


def global_pool(op: Operator) -> Result:
    """Follow GlobalMaxPool and GlobalAveragePool."""
    return Result([(*op.shape()[:2], *(1 for _ in op.shape()[2:]))])
