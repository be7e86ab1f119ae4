"""Lower gathers by constant indices, if possible as slices, because the Neural Engine has no gather."""

from itertools import pairwise

import numpy as np

from moebius_edge.common.tensors import Array
from moebius_edge.export.targets.coreml.lowering import MAX_RANK, Node, lowers
from moebius_edge.export.targets.coreml.tools import Var, mb

MAX_SLICES = 32  # that stand in for one gather


@lowers("Gather")
def gather(node: Node) -> Var:
    """Lower Gather by constant indices, which in ONNX may count from the end."""
    value, indices = node.var(0), node.constant(1)
    axis = node.attribute("axis", 0) % value.rank
    size = value.shape[axis]
    if indices.size and not (-size <= indices.min() and indices.max() < size):
        node.refuse(f"its indices are {indices.min()} to {indices.max()} of an axis of {size}")
    counted = np.where(indices < 0, indices + size, indices).astype(np.int32)
    made = _sliced(value, axis, counted.reshape(-1))
    if made is None:
        return mb.gather(x=value, indices=counted, axis=axis, validate_indices=False, name=node.label)
    shape = (*value.shape[:axis], *indices.shape, *value.shape[axis + 1 :])
    if not shape:
        return mb.squeeze(x=made, name=node.label)
    return mb.reshape(x=made, shape=shape, name=node.label)


def _sliced(value: Var, axis: int, indices: Array) -> Var | None:
    """Return `value` at the flat `indices` of an axis, made of slices; None where that takes too many."""
    if not indices.size:
        return None
    pieces = runs(indices)
    if len(pieces) <= MAX_SLICES:
        made = [_cut(value, axis, start, stop) for start, stop in pieces]
        return mb.concat(values=made, axis=axis) if len(made) > 1 else made[0]
    found = windows(indices)
    if found is None or len(found[1]) > MAX_SLICES or value.rank == MAX_RANK:
        return None
    length, starts = found
    made = [mb.expand_dims(x=_cut(value, axis, at, at + length), axes=[axis + 1]) for at in starts]
    return mb.concat(values=made, axis=axis + 1)


def runs(indices: Array) -> list[tuple[int, int]]:
    """List the stretches (start, stop) of indices that count up by one."""
    ends = np.flatnonzero(np.diff(indices) != 1) + 1
    return [(int(indices[a]), int(indices[b - 1]) + 1) for a, b in pairwise([0, *ends, len(indices)])]


def windows(indices: Array) -> tuple[int, list[int]] | None:
    """Find equal windows in the indices: for each i below `length`, i + start for each of `starts`.

    Returns (length, starts), or None where the indices are not of this form.
    """
    second = np.flatnonzero(indices == indices[0] + 1)
    period = int(second[0]) if len(second) else 0
    if not period or len(indices) % period:
        return None
    table = indices.reshape(-1, period)
    if not np.array_equal(table, np.arange(len(table))[:, None] + table[0]):
        return None
    return len(table), [int(start) for start in table[0]]


def _cut(value: Var, axis: int, start: int, stop: int) -> Var:
    begin, end = [0] * value.rank, list(value.shape)
    begin[axis], end[axis] = start, stop
    return mb.slice_by_index(x=value, begin=begin, end=end)
