"""Lower normalizations and means."""

from moebius_edge.export.targets.coreml.lowering import Node, lowers, number
from moebius_edge.export.targets.coreml.tools import Var, mb


@lowers("InstanceNormalization")
def instance_norm(node: Node) -> Var:
    """Lower InstanceNormalization over all but the first two axes.

    With channels joined to groups it is a GroupNorm.
    """
    value = node.var(0)
    if value.rank not in (3, 4):
        node.refuse(f"its input has {value.rank} dimensions; expected 3 or 4")
    normalized = mb.instance_norm(
        x=_as_picture(node),
        gamma=node.constant(1),
        beta=node.constant(2),
        epsilon=number(value, node.attribute("epsilon", 1e-5)),
        name=node.label,
    )
    if normalized.rank == value.rank:
        return normalized
    return mb.reshape(x=normalized, shape=value.shape, name=f"{node.label}_flat")


def _as_picture(node: Node) -> Var:
    """Return what is normalized; a flat group of pictures or tokens [B,G,n] as a picture [B,G,n/w,w] of rows.

    The Neural Engine has no axis as long as such a group, and it is made for rows of pictures.
    """
    value, maker = node.var(0), node.maker(0)
    if value.rank == 4 or maker is None or maker.op_type != "Reshape":
        return value
    before = node.scope.var(maker.input[0])
    width = before.shape[-1]
    if before.rank not in (3, 4) or value.shape[2] % width:
        return value
    batch, groups, length = value.shape
    shape = (batch, groups, length // width, width)
    return mb.reshape(x=before, shape=shape, name=f"{node.label}_pictures")


@lowers("LayerNormalization")
def layer_norm(node: Node) -> Var:
    """Lower LayerNormalization over the last axes."""
    node.require(stash_type=1)
    value, axis = node.var(0), node.attribute("axis", -1)
    if len(node.proto.output) != 1:
        node.refuse("its mean is used; expected the normalized values alone")
    return mb.layer_norm(
        x=value,
        axes=list(range(axis % value.rank, value.rank)),
        gamma=node.constant(1),
        beta=node.constant(2) if node.has(2) else None,
        epsilon=number(value, node.attribute("epsilon", 1e-5)),
        name=node.label,
    )


@lowers("ReduceMean")
def reduce_mean(node: Node) -> Var:
    """Lower ReduceMean over the given axes, or over all of them."""
    node.require(noop_with_empty_axes=0)
    axes = node.integers(1) if node.has(1) else None
    keep = bool(node.attribute("keepdims", 1))
    return mb.reduce_mean(x=node.var(0), axes=axes, keep_dims=keep, name=node.label)
