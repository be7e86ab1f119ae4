"""Make ORT format files (.ort) deterministic, and read their graphs as ONNX.

The format is a FlatBuffer. Its schema is `ort.fbs` of ONNX Runtime; the generated readers and writers come
with the onnxruntime wheel, which needs `flatbuffers` for them.
"""

from collections.abc import Callable, Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import flatbuffers
import onnx
import onnxruntime.tools.ort_format_model as _  # noqa: F401 (puts `ort_flatbuffers_py` on the path)
from onnx import TensorProto, helper
from ort_flatbuffers_py import fbs

from moebius_edge.common.errors import ExportError

IDENTIFIER = b"ORTM"
ALIGNMENT = 16  # of tensors inside the file, counted from its end
ROOM = 1 << 16  # for the rebuilt head; the builder grows when that is not enough


def make_deterministic(path: Path) -> None:
    """Rewrite an .ort file that ONNX Runtime wrote, so that equal models are equal files.

    The engine writes one part in the order of a hash table that is seeded anew in every process: which type
    each kernel is bound by (`KernelTypeStrResolver`, a few kilobytes at the head). It is built again in the
    order of its names; the model itself, all that follows, is kept to the byte. This function may go when the
    engine sorts.
    """
    data = path.read_bytes()
    session = _session(data, path)
    table = session.Model()._tab
    # A table and its vtable, wherever that lies, begin what the engine wrote before the head (back to front).
    vtable = table.Pos - int.from_bytes(data[table.Pos : table.Pos + 4], "little", signed=True)
    tail = data[min(table.Pos, vtable) :]
    builder = flatbuffers.Builder(0)
    builder.Bytes, builder.head, builder.minalign = bytearray(ROOM) + tail, ROOM, ALIGNMENT
    resolver = _resolver(builder, session.KernelTypeStrResolver())
    version = builder.CreateString(session.OrtVersion())
    fbs.InferenceSession.Start(builder)
    fbs.InferenceSession.AddOrtVersion(builder, version)
    fbs.InferenceSession.AddModel(builder, len(data) - table.Pos)  # offsets count from the end
    fbs.InferenceSession.AddKernelTypeStrResolver(builder, resolver)
    builder.Finish(fbs.InferenceSession.End(builder), file_identifier=IDENTIFIER)
    path.write_bytes(builder.Output())


def _resolver(builder: Any, resolver: Any) -> int:
    """Write the resolver again, with its operators sorted."""
    entries = []
    operators = [resolver.OpKernelTypeStrArgs(i) for i in range(resolver.OpKernelTypeStrArgsLength())]
    for operator in sorted(operators, key=lambda entry: entry.OpId()):
        kinds = []
        for i in range(operator.KernelTypeStrArgsLength()):
            kind = operator.KernelTypeStrArgs(i)
            arguments = []
            for j in range(kind.ArgsLength()):
                fbs.ArgTypeAndIndex.Start(builder)
                fbs.ArgTypeAndIndex.AddArgType(builder, kind.Args(j).ArgType())
                fbs.ArgTypeAndIndex.AddIndex(builder, kind.Args(j).Index())
                arguments.append(fbs.ArgTypeAndIndex.End(builder))
            vector, name = _vector(builder, arguments), builder.CreateString(kind.KernelTypeStr())
            fbs.KernelTypeStrArgsEntry.Start(builder)
            fbs.KernelTypeStrArgsEntry.AddKernelTypeStr(builder, name)
            fbs.KernelTypeStrArgsEntry.AddArgs(builder, vector)
            kinds.append(fbs.KernelTypeStrArgsEntry.End(builder))
        vector, name = _vector(builder, kinds), builder.CreateString(operator.OpId())
        fbs.OpIdKernelTypeStrArgsEntry.Start(builder)
        fbs.OpIdKernelTypeStrArgsEntry.AddOpId(builder, name)
        fbs.OpIdKernelTypeStrArgsEntry.AddKernelTypeStrArgs(builder, vector)
        entries.append(fbs.OpIdKernelTypeStrArgsEntry.End(builder))
    vector = _vector(builder, entries)
    fbs.KernelTypeStrResolver.Start(builder)
    fbs.KernelTypeStrResolver.AddOpKernelTypeStrArgs(builder, vector)
    return int(fbs.KernelTypeStrResolver.End(builder))


def _vector(builder: Any, offsets: list[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


def structure(path: Path) -> onnx.ModelProto:
    """Return the main graph of an .ort file as ONNX: nodes, types and shapes; weights without their values.

    Nodes are put in topological order, as ONNX has them: the file has fused ones last. Attributes that are
    tensors or graphs are left out. Raises ExportError when the file is not an .ort file, or a damaged one.
    """
    try:
        return _structure(_session(path.read_bytes(), path).Model())
    except ExportError:
        raise
    except Exception as error:  # the readers trust the file; on a broken one anything can happen
        raise ExportError(f"{path.name} is not a whole .ort file; export the bundle again") from error


def _session(data: bytes, path: Path) -> Any:
    if not fbs.InferenceSession.InferenceSession.InferenceSessionBufferHasIdentifier(data, 0):
        raise ExportError(f"{path.name} is not an .ort file: its identifier is not {IDENTIFIER.decode()}")
    return fbs.InferenceSession.InferenceSession.GetRootAs(data, 0)


def _structure(model: Any) -> onnx.ModelProto:
    graph = model.Graph()
    infos = dict(_infos(graph))
    nodes = []
    for node in (graph.Nodes(i) for i in range(graph.NodesLength())):
        made = helper.make_node(
            node.OpType().decode(),
            [node.Inputs(i).decode() for i in range(node.InputsLength())],
            [node.Outputs(i).decode() for i in range(node.OutputsLength())],
            name=(node.Name() or b"").decode(),
            domain=(node.Domain() or b"").decode(),
        )
        made.attribute.extend(_attributes(node))
        nodes.append(made)
    weights = []
    for tensor in (graph.Initializers(i) for i in range(graph.InitializersLength())):
        dims = [tensor.Dims(i) for i in range(tensor.DimsLength())]
        weights.append(TensorProto(name=tensor.Name().decode(), data_type=tensor.DataType(), dims=dims))
    inputs = [infos[graph.Inputs(i).decode()] for i in range(graph.InputsLength())]
    outputs = [infos[graph.Outputs(i).decode()] for i in range(graph.OutputsLength())]
    made_graph = helper.make_graph(
        _ordered(nodes), "ort", inputs, outputs, weights, value_info=list(infos.values())
    )
    opsets = (model.OpsetImport(i) for i in range(model.OpsetImportLength()))
    return helper.make_model(
        made_graph,
        opset_imports=[helper.make_opsetid(opset.Domain().decode(), opset.Version()) for opset in opsets],
    )


def _ordered(nodes: list[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """Sort nodes so that each comes after those that it needs, otherwise in the order given."""
    maker = {name: index for index, node in enumerate(nodes) for name in node.output if name}
    sorter = TopologicalSorter(
        {i: [maker[name] for name in node.input if name in maker] for i, node in enumerate(nodes)}
    )
    return [nodes[index] for index in sorter.static_order()]


def _infos(graph: Any) -> Iterator[tuple[str, onnx.ValueInfoProto]]:
    """Yield the name, type and shape of every value that is a tensor."""
    for value in (graph.NodeArgs(i) for i in range(graph.NodeArgsLength())):
        kind = value.Type()
        if kind is None or kind.ValueType() != fbs.TypeInfoValue.TypeInfoValue.tensor_type:
            continue
        tensor = fbs.TensorTypeAndShape.TensorTypeAndShape()
        tensor.Init(kind.Value().Bytes, kind.Value().Pos)
        shape = tensor.Shape()
        dims = None if shape is None else [_dimension(shape.Dim(i)) for i in range(shape.DimLength())]
        name = value.Name().decode()
        yield name, helper.make_tensor_value_info(name, tensor.ElemType(), dims)


def _dimension(dimension: Any) -> int | None:
    """Return a fixed size, or None."""
    value = dimension.Value()
    fixed = value is not None and value.DimType() == fbs.DimensionValueType.DimensionValueType.VALUE
    return value.DimValue() if fixed else None


def _attributes(node: Any) -> Iterator[onnx.AttributeProto]:
    types = fbs.AttributeType.AttributeType
    read: dict[int, Callable[[Any], Any]] = {
        types.INT: lambda a: a.I(),
        types.FLOAT: lambda a: a.F(),
        types.STRING: lambda a: a.S() or b"",
        types.INTS: lambda a: [a.Ints(i) for i in range(a.IntsLength())],
        types.FLOATS: lambda a: [a.Floats(i) for i in range(a.FloatsLength())],
    }
    for attribute in (node.Attributes(i) for i in range(node.AttributesLength())):
        reader = read.get(attribute.Type())
        value = [] if reader is None else reader(attribute)
        if value != []:  # ONNX cannot tell the type of an empty list
            yield helper.make_attribute(attribute.Name().decode(), value)
