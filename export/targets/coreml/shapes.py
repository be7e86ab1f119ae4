"""Lower operators that move numbers and compute none."""

from collections.abc import Sequence

import numpy as np

from moebius_edge.export.targets.coreml.lowering import Node, lowers, number
from moebius_edge.export.targets.coreml.tools import Var, mb

WHOLE = 2**31 - 1  # an end from here on is the end of the axis: exporters write INT64_MAX


@lowers("Reshape")
def reshape(node: Node) -> Var:
    """Lower Reshape; in ONNX a 0 copies a dimension, where `allowzero` is 0."""
    value, shape = node.var(0), node.integers(1)
    if node.attribute("allowzero", 0) and 0 in shape:
        node.refuse("it makes an empty tensor")
    wanted = [value.shape[i] if size == 0 else size for i, size in enumerate(shape)]
    return mb.reshape(x=value, shape=wanted, name=node.label)


@lowers("Transpose")
def transpose(node: Node) -> Var:
    """Lower Transpose; by default the axes are reversed."""
    value = node.var(0)
    return mb.transpose(x=value, perm=node.attribute("perm", list(range(value.rank))[::-1]), name=node.label)


@lowers("Unsqueeze")
def unsqueeze(node: Node) -> Var:
    """Lower Unsqueeze; its axes are those of the result."""
    return mb.expand_dims(x=node.var(0), axes=node.integers(1), name=node.label)


@lowers("Squeeze")
def squeeze(node: Node) -> Var:
    """Lower Squeeze; without axes it removes every one of size 1."""
    axes = node.integers(1) if node.has(1) else None
    return mb.squeeze(x=node.var(0), axes=axes, name=node.label)


@lowers("Concat")
def concat(node: Node) -> Var:
    """Lower Concat along one axis."""
    values = [node.var(i) for i in range(len(node.proto.input))]
    return mb.concat(values=values, axis=node.attribute("axis"), name=node.label)


@lowers("Split")
def split(node: Node) -> Sequence[Var]:
    """Lower Split into the given sizes, or into equal parts, the last of which may be smaller."""
    value, axis, count = node.var(0), node.attribute("axis", 0), len(node.proto.output)
    node.attribute("num_outputs")
    if node.has(1):
        sizes = node.integers(1)
    else:
        each = -(-value.shape[axis] // count)
        sizes = [each] * (count - 1) + [value.shape[axis] - each * (count - 1)]
    if count == 1:
        return [mb.identity(x=value, name=node.label)]
    made = mb.split(x=value, split_sizes=sizes, axis=axis, name=node.label)
    return tuple(made)


@lowers("Slice")
def slice_(node: Node) -> Var:
    """Lower Slice along the given axes from start to end; steps have to be 1 or more."""
    value, starts, ends = node.var(0), node.integers(1), node.integers(2)
    axes = node.integers(3) if node.has(3) else list(range(len(starts)))
    steps = node.integers(4) if node.has(4) else [1] * len(starts)
    begin, end, stride = [0] * value.rank, list(value.shape), [1] * value.rank
    for axis, start, stop, step in zip(axes, starts, ends, steps, strict=True):
        if step < 1:
            node.refuse(f"its step is {step}; expected 1 or more")
        size = value.shape[axis]
        begin[axis], end[axis], _ = slice(start, None if stop >= WHOLE else stop).indices(size)
        stride[axis] = step
        if begin[axis] >= end[axis]:
            node.refuse("it makes an empty tensor")
    return mb.slice_by_index(x=value, begin=begin, end=end, stride=stride, name=node.label)


@lowers("Expand")
def expand(node: Node) -> Var:
    """Lower Expand: repeat along axes of size 1; a shape with more dimensions adds them in front."""
    value, shape = node.var(0), node.integers(1)
    if len(shape) > value.rank:
        value = mb.expand_dims(x=value, axes=list(range(len(shape) - value.rank)))
    shape = [1] * (value.rank - len(shape)) + shape
    repeats = []
    for have, want in zip(value.shape, shape, strict=True):
        if want != have and 1 not in (have, want):
            node.refuse(f"{list(value.shape)} does not expand to {shape}")
        repeats.append(want if have == 1 else 1)
    return mb.tile(x=value, reps=repeats, name=node.label)


@lowers("Resize")
def resize(node: Node) -> Var:
    """Lower Resize where it repeats each pixel a whole number of times."""
    node.require(mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    node.require(antialias=0, axes=None, keep_aspect_ratio_policy="stretch")
    for unused in ("cubic_coeff_a", "exclude_outside", "extrapolation_value"):
        node.attribute(unused)  # of other modes
    value = node.var(0)
    if node.has(3):
        factors = [new / old for new, old in zip(node.integers(3), value.shape, strict=True)]
    else:
        factors = [float(factor) for factor in node.constant(2)]
    if value.rank != 4 or factors[:2] != [1, 1] or any(factor % 1 or factor < 1 for factor in factors):
        node.refuse(f"it makes {factors} times of {value.shape}; expected pictures and whole numbers")
    return mb.upsample_nearest_neighbor(
        x=value, scale_factor_height=int(factors[2]), scale_factor_width=int(factors[3]), name=node.label
    )


@lowers("Pad")
def pad(node: Node) -> Var:
    """Lower Pad with a constant."""
    node.require(mode="constant")
    value, amounts = node.var(0), node.integers(1)
    axes = node.integers(3) if node.has(3) else list(range(value.rank))
    ends = np.zeros((value.rank, 2), int)
    ends[axes] = np.reshape(amounts, (2, -1)).T
    if ends.min() < 0:
        node.refuse("it cuts off; expected to pad")
    fill = node.constant(2).item() if node.has(2) else 0.0
    return mb.pad(
        x=value,
        pad=ends.reshape(-1).tolist(),
        mode="constant",
        constant_val=number(value, fill),
        name=node.label,
    )
