"""Find which nodes of a bundle's graphs a phone's execution providers would take, and why not the others."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import onnx
from onnx import helper, shape_inference

from moebius_edge.bundle.folder import REPAIR, Bundle
from moebius_edge.bundle.manifest import GRAPH_NAMES
from moebius_edge.common.errors import ExportError
from moebius_edge.export.doctor import Fall, GraphUse, ProviderUse, Usability, partitions
from moebius_edge.export.targets.ort_mobile.ort_format import structure
from moebius_edge.export.targets.ort_mobile.providers import PROVIDERS, Node, Provider, Shape
from moebius_edge.onnx_tools.attributes import attributes_of
from moebius_edge.onnx_tools.macs import node_macs

SAME_SHAPE = {("com.microsoft", "QuickGelu")}  # operators of exports whose output is like their first input


def examine(bundle: Bundle) -> Usability:
    """Apply the rules of `PROVIDERS` to the graphs of a bundle, .ort or .onnx; nothing is run.

    Raises ExportError for a graph in another format, and for a damaged one.
    """
    graphs = {name: load(bundle.file(bundle.manifest.graphs[name].file)) for name in GRAPH_NAMES}
    rows = tuple(
        ProviderUse(
            provider.name,
            provider.runs_on,
            provider.source,
            tuple(_used(bundle, name, model, provider) for name, model in graphs.items()),
        )
        for provider in PROVIDERS
    )
    return Usability(bundle.folder.resolve().name, bundle.manifest.precision, rows)


def _used(bundle: Bundle, name: str, model: onnx.ModelProto, provider: Provider) -> GraphUse:
    try:
        return use(name, model, provider)
    except Exception as error:  # a damaged graph may lack any type, shape or attribute
        file = bundle.manifest.graphs[name].file
        raise ExportError(f"{file} is damaged: not every node has its types and shapes; {REPAIR}") from error


def load(path: Path) -> onnx.ModelProto:
    """Read the graph of an .ort or .onnx file, with types and shapes, without large weights.

    Raises ExportError for another format, and for a file that is not complete.
    """
    if path.suffix == ".ort":
        return structure(path)
    if path.suffix != ".onnx":
        raise ExportError(f"{path.name} is no .ort or .onnx file; this examines bundles for ONNX Runtime")
    try:
        return _with_shapes(onnx.load(path, load_external_data=False))
    except MemoryError:
        raise
    except Exception as error:  # protobuf's errors share no base class
        raise ExportError(f"{path.name} is not a whole .onnx file; {REPAIR}") from error


def _with_shapes(model: onnx.ModelProto) -> onnx.ModelProto:
    """Add the type and shape of every value to the graph, also behind operators that ONNX does not know."""
    known = onnx.ModelProto()
    known.CopyFrom(model)
    for node in known.graph.node:
        if (node.domain, node.op_type) in SAME_SHAPE:
            node.CopyFrom(helper.make_node("Identity", node.input[:1], node.output))
    found = shape_inference.infer_shapes(known, data_prop=True).graph.value_info
    del model.graph.value_info[:]
    model.graph.value_info.extend(found)
    return model


def use(name: str, model: onnx.ModelProto, provider: Provider) -> GraphUse:
    """Apply one provider's rules to one graph."""
    tensors = _tensors(model)
    shapes = {key: shape for key, (_, shape) in tensors.items() if shape is not None}
    weights = {tensor.name for tensor in model.graph.initializer}
    taken_by: dict[str, str] = {}  # output -> operator that the provider took
    flags: list[bool] = []
    falls: Counter[tuple[str, str]] = Counter()
    macs_of: Counter[tuple[str, str]] = Counter()
    total = macs_taken = 0
    for proto in model.graph.node:
        node = _node(proto, tensors, weights, taken_by)
        wrong, macs = provider.refuses(node), node_macs(proto, shapes)
        flags.append(not wrong)
        total += macs
        if wrong:
            falls[node.operator, wrong] += 1
            macs_of[node.operator, wrong] += macs
        else:
            macs_taken += macs
            taken_by.update(dict.fromkeys(proto.output, node.operator))
    order = sorted(falls, key=lambda key: (-macs_of[key], -falls[key], key))
    return GraphUse(
        graph=name,
        nodes=len(flags),
        taken=sum(flags),
        partitions=partitions(((node.input, node.output) for node in model.graph.node), flags),
        macs=total,
        macs_taken=macs_taken,
        falls=tuple(Fall(*key, falls[key], macs_of[key]) for key in order),
    )


def _node(
    proto: onnx.NodeProto,
    tensors: Mapping[str, tuple[str, Shape | None]],
    weights: set[str],
    taken_by: Mapping[str, str],
) -> Node:
    domain = "" if proto.domain in ("", "ai.onnx") else f"{proto.domain}:"
    attributes = attributes_of(proto)
    return Node(
        operator=domain + proto.op_type,
        attributes={k: v.decode() if isinstance(v, bytes) else v for k, v in attributes.items()},
        shapes=tuple(tensors.get(name, ("", None))[1] for name in proto.input),
        types=tuple(tensors.get(name, ("unknown", None))[0] if name else "" for name in proto.input),
        constant=tuple(name in weights for name in proto.input),
        producer=taken_by.get(proto.input[0], "") if proto.input else "",
    )


def _tensors(model: onnx.ModelProto) -> dict[str, tuple[str, Shape | None]]:
    """Return the type and shape of every value and weight; the shape is None where a size is not fixed."""
    graph = model.graph
    found: dict[str, tuple[str, Shape | None]] = {}
    for value in (*graph.input, *graph.value_info, *graph.output):
        tensor = value.type.tensor_type
        fixed = tensor.HasField("shape") and all(d.HasField("dim_value") for d in tensor.shape.dim)
        shape = tuple(d.dim_value for d in tensor.shape.dim) if fixed else None
        found[value.name] = (_type(tensor.elem_type), shape)
    for weight in graph.initializer:
        found[weight.name] = (_type(weight.data_type), tuple(weight.dims))
    return found


def _type(number: int) -> str:
    return str(helper.tensor_dtype_to_np_dtype(number)) if number else "unknown"
