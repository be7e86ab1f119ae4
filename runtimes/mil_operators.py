"""Implement the operators of MIL that exported programs have, on torch tensors, in float32.

Each follows coremltools' definition of the operator (`coremltools.converters.mil.mil.ops.defs`); parameters
have MIL's names. Floats come in any width and go out in float32: the interpreter rounds them to the type that
the program gives the result.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

OPERATORS: dict[str, Callable[..., Tensor | tuple[Tensor, ...]]] = {}


def operator(function: Callable[..., Any]) -> Callable[..., Any]:
    """Register a function under its name."""
    OPERATORS[function.__name__.rstrip("_")] = function
    return function


def _unary(function: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    return lambda x: function(x.float())


def _binary(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    return lambda x, y: function(x.float(), y.float())


OPERATORS |= {
    "relu": _unary(torch.relu),
    "sigmoid": _unary(torch.sigmoid),
    "silu": _unary(F.silu),
    "exp": _unary(torch.exp),
    "sqrt": _unary(torch.sqrt),
    "sin": _unary(torch.sin),
    "cos": _unary(torch.cos),
    "add": _binary(torch.add),
    "sub": _binary(torch.sub),
    "mul": _binary(torch.mul),
    "real_div": _binary(torch.div),
    "identity": lambda x: x,
    "reshape": lambda x, shape: x.reshape(_ints(shape)),
    "transpose": lambda x, perm: x.permute(_ints(perm)),
    "concat": lambda values, axis, interleave=None: torch.cat(values, _int(axis)),
    "split": lambda x, split_sizes, axis, num_splits=None: torch.split(x, _ints(split_sizes), _int(axis)),
    "tile": lambda x, reps: x.repeat(_ints(reps)),
    "softmax": lambda x, axis: torch.softmax(x.float(), _int(axis)),
}


def _int(value: Any) -> int:
    return int(value)


def _ints(value: Any) -> list[int]:
    return [int(number) for number in value]


@operator
def cast(x: Tensor, dtype: str) -> Tensor:
    """Return `x` as it is; the interpreter converts it to the result's type."""
    return x


@operator
def clip(x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    """Limit numbers to the range from alpha to beta."""
    return x.float().clamp(float(alpha), float(beta))


@operator
def expand_dims(x: Tensor, axes: Tensor) -> Tensor:
    """Add axes of size 1; `axes` are those of the result."""
    rank = x.ndim + len(axes)
    for axis in sorted(axis % rank for axis in _ints(axes)):
        x = x.unsqueeze(axis)
    return x


@operator
def squeeze(x: Tensor, axes: Tensor | None = None) -> Tensor:
    """Remove axes of size 1; without `axes`, all of them."""
    return x.squeeze() if axes is None else x.squeeze(tuple(_ints(axes)))


@operator
def slice_by_index(
    x: Tensor,
    begin: Tensor,
    end: Tensor,
    stride: Tensor | None = None,
    begin_mask: Any = None,
    end_mask: Any = None,
    squeeze_mask: Any = None,
) -> Tensor:
    """Cut out a part of each axis, from `begin` to `end`; masked ends are those of the axis.

    Raises ValueError for squeezed axes, which no exporter here writes.
    """
    if squeeze_mask is not None and any(squeeze_mask):
        raise ValueError("slice_by_index with a squeeze_mask")
    steps = _ints(stride) if stride is not None else [1] * x.ndim
    index = []
    for axis, (start, stop, step) in enumerate(zip(_ints(begin), _ints(end), steps, strict=True)):
        first = None if begin_mask is not None and begin_mask[axis] else start
        last = None if end_mask is not None and end_mask[axis] else stop
        index.append(slice(first, last, step))
    return x[tuple(index)]


@operator
def gather(
    x: Tensor, indices: Tensor, axis: Tensor, batch_dims: Any = 0, validate_indices: Any = False
) -> Tensor:
    """Take rows, or slices along another axis; negative indices count from the end.

    Raises ValueError for indices beyond the axis and for batch_dims.
    """
    if int(batch_dims):
        raise ValueError("gather with batch_dims")
    where = _int(axis) % x.ndim
    size, flat = x.shape[where], indices.long().reshape(-1)
    if flat.numel() and (int(flat.min()) < -size or int(flat.max()) >= size):
        raise ValueError(f"indices beyond an axis of {size}")
    flat = flat % size
    return x.index_select(where, flat).reshape(*x.shape[:where], *indices.shape, *x.shape[where + 1 :])


@operator
def pad(x: Tensor, pad: Tensor, mode: str = "constant", constant_val: Any = 0.0) -> Tensor:
    """Pad with a constant; `pad` has pairs (before, after) for the last axes.

    Raises ValueError for other modes.
    """
    if mode != "constant":
        raise ValueError(f"pad with the mode {mode}")
    pairs = list(zip(_ints(pad[::2]), _ints(pad[1::2]), strict=True))
    flat = [number for pair in reversed(pairs) for number in pair]
    return F.pad(x.float(), flat, value=float(constant_val))


def _ends(name: str, pad_type: str, pad: Any) -> list[int]:
    """Return the padding at top, bottom, left and right."""
    if pad_type not in ("custom", "valid"):
        raise ValueError(f"{name} with the padding {pad_type}")
    return _ints(pad) if pad_type == "custom" else [0, 0, 0, 0]


@operator
def conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    strides: Any = (1, 1),
    pad_type: str = "valid",
    pad: Any = (0, 0, 0, 0),
    dilations: Any = (1, 1),
    groups: Any = 1,
) -> Tensor:
    """Convolve pictures [B,C,h,w]; pad: top, bottom, left, right."""
    top, bottom, left, right = _ends("conv", pad_type, pad)
    return F.conv2d(
        F.pad(x.float(), (left, right, top, bottom)),
        weight.float(),
        None if bias is None else bias.float(),
        _ints(strides),
        0,
        _ints(dilations),
        _int(groups),
    )


@operator
def conv_transpose(
    x: Tensor,
    weight: Tensor,
    *,
    bias: Tensor | None = None,
    strides: Any = (1, 1),
    pad_type: str = "valid",
    pad: Any = (0, 0, 0, 0),
    dilations: Any = (1, 1),
    groups: Any = 1,
    **_: Any,  # output_shape, which follows from the others
) -> Tensor:
    """Convolve pictures [B,C,h,w] transposed; pad: what is cut off at top, bottom, left, right."""
    top, bottom, left, right = _ends("conv_transpose", pad_type, pad)
    whole = F.conv_transpose2d(
        x.float(),
        weight.float(),
        None if bias is None else bias.float(),
        _ints(strides),
        groups=_int(groups),
        dilation=_ints(dilations),
    )
    return whole[:, :, top : whole.shape[2] - bottom, left : whole.shape[3] - right]


@operator
def upsample_nearest_neighbor(x: Tensor, scale_factor_height: Any, scale_factor_width: Any) -> Tensor:
    """Repeat each pixel. Raises ValueError for factors that are not whole."""
    for factor in (scale_factor_height, scale_factor_width):
        if float(factor) != int(factor):
            raise ValueError(f"a factor of {float(factor):g}")
    return x.repeat_interleave(_int(scale_factor_height), 2).repeat_interleave(_int(scale_factor_width), 3)


@operator
def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Compute x W^T + b."""
    return F.linear(x.float(), weight.float(), None if bias is None else bias.float())


@operator
def matmul(x: Tensor, y: Tensor, transpose_x: Any = False, transpose_y: Any = False) -> Tensor:
    """Multiply matrices of the last two axes."""
    x, y = x.float(), y.float()
    return (x.mT if transpose_x else x) @ (y.mT if transpose_y else y)


@operator
def instance_norm(x: Tensor, epsilon: Tensor, gamma: Any = None, beta: Any = None) -> Tensor:
    """Normalize over all but the first two axes."""
    values = x.float()
    axes = tuple(range(2, x.ndim))
    shape = (1, -1, *(1 for _ in axes))
    variance, mean = torch.var_mean(values, axes, correction=0, keepdim=True)
    made = (values - mean) / torch.sqrt(variance + float(epsilon))
    made = made if gamma is None else made * gamma.float().reshape(shape)
    return made if beta is None else made + beta.float().reshape(shape)


@operator
def layer_norm(x: Tensor, axes: Tensor, epsilon: Tensor, gamma: Any = None, beta: Any = None) -> Tensor:
    """Normalize over the given axes. Raises ValueError unless they are the last ones."""
    where = [axis % x.ndim for axis in _ints(axes)]
    if where != list(range(x.ndim - len(where), x.ndim)):
        raise ValueError(f"axes {where} of {x.ndim}")
    shape = [x.shape[axis] for axis in where]
    weight, bias = (None if value is None else value.float() for value in (gamma, beta))
    return F.layer_norm(x.float(), shape, weight, bias, float(epsilon))


@operator
def reduce_mean(x: Tensor, axes: Tensor | None = None, keep_dims: Any = False) -> Tensor:
    """Take the mean over the given axes or all of them."""
    where = _ints(axes) if axes is not None else list(range(x.ndim))
    return x.float().mean(where, keepdim=bool(keep_dims))


@operator
def quantize(
    input: Tensor,
    scale: Tensor,
    zero_point: Any = None,
    output_dtype: str = "int8",
    axis: Any = None,
) -> Tensor:
    """Compute saturate(round(x / scale) + zero), halves to even."""
    low, high = (-128, 127) if output_dtype == "int8" else (0, 255)
    made = torch.round(input.float() / _channels(scale.float(), input, axis))
    return (made + (0 if zero_point is None else _channels(zero_point.float(), input, axis))).clamp(low, high)


@operator
def dequantize(input: Tensor, scale: Tensor, zero_point: Any = None, axis: Any = None) -> Tensor:
    """Compute (q - zero) scale."""
    zero = 0 if zero_point is None else _channels(zero_point.float(), input, axis)
    return (input.float() - zero) * _channels(scale.float(), input, axis)


def _channels(values: Tensor, like: Tensor, axis: Any) -> Tensor:
    if values.ndim == 0:
        return values
    shape = [1] * like.ndim
    shape[_int(axis)] = -1
    return values.reshape(shape)
