"""Hostile decoders as .ort files: those of `graphs` that the engine can write, and more."""

import struct
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import flatbuffers
import numpy as np
import onnxruntime as ort
import onnxruntime.tools.ort_format_model as _  # noqa: F401 (puts `ort_flatbuffers_py` on the path)
from onnx import helper
from ort_flatbuffers_py import fbs

from tests.attacks.graphs import GRAPHS, chain, model

ONE = np.ones(1, np.float32)
# The engine refuses to write the others, or names what they name.
WRITTEN = (
    *("loop of 2^62", "loop of 2^62, 8 deep", "loop without end", "scan over 2^28", "if, 2 deep"),
    *("ConstantOfShape", "ConstantOfShape by Shape", "Expand", "Tile", "Range"),
    *("Range of tiny steps", "Pad", "Resize", "Concat, doubling", "Add of a row and a column"),
    *("MatMul of a column and a row", "Einsum", "Gather", "OneHot", "EyeLike", "RandomNormal", "HannWindow"),
    *("ConvTranspose", "LSTM", "MatMul for hours", "Cast of 2^27, 40 times", "Expand of an input"),
    *("Tile of an input", "Pad of an input", "Concat of an input, doubling", "many values of 2^27"),
    *("MaxPool over 2^28", "Conv with pads", "NonZero"),
)


def written(data: bytes) -> bytes:
    """The .ort file of an ONNX file, as the engine writes it when it optimizes nothing."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.save_model_format", "ORT")
    with TemporaryDirectory() as folder:
        path = Path(folder) / "hostile.ort"
        options.optimized_model_filepath = str(path)
        ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        return path.read_bytes()


def converted(name: str) -> bytes:
    made = GRAPHS[name]()
    return written(made if isinstance(made, bytes) else made.SerializeToString())


def good() -> bytes:
    """A decoder that is refused by nothing; `x` is the number one."""
    return written(model([helper.make_node("Neg", ["one"], ["x"])], {}).SerializeToString())


def graph_of(data: bytes) -> Any:
    return fbs.InferenceSession.InferenceSession.GetRootAs(data, 0).Model().Graph()


def patched(data: bytes, table: Any, slot: int, code: str, value: int) -> bytes:
    """The file with another number in a field of one of its tables; `slot` as in the generated readers."""
    place = table._tab.Pos + table._tab.Offset(slot)
    return replaced(data, place, struct.pack(f"<{code}", value))


def replaced(data: bytes, place: int, part: bytes) -> bytes:
    return data[:place] + part + data[place + len(part) :]


def weights(data: bytes) -> dict[bytes, Any]:
    graph = graph_of(data)
    return {each.Name(): each for each in map(graph.Initializers, range(graph.InitializersLength()))}


def places() -> bytes:
    """Room for 2^32 nodes, of which there are four."""
    data = good()
    return patched(data, graph_of(data), 10, "I", 0xFFFFFFFF)


def index() -> bytes:
    """A node with a number that is not among those of the graph."""
    data = good()
    return patched(data, graph_of(data).Nodes(1), 12, "I", 0x7FFFFFFF)


def sides() -> bytes:
    """A stored tensor that says it is large, and has few numbers."""
    data = good()
    tensor = weights(data)[b"one"]
    return replaced(data, tensor._tab.Vector(tensor._tab.Offset(8)), struct.pack("<q", 1 << 33))


def edges() -> bytes:
    """An edge to another node than the names say."""
    data = good()
    graph = graph_of(data)
    edge = next(
        each for each in map(graph.NodeEdges, range(graph.NodeEdgesLength())) if each.InputEdgesLength()
    )
    return replaced(data, edge.InputEdges(0)._tab.Pos, struct.pack("<I", edge.NodeIndex()))


def no_text() -> bytes:
    """A name that is no UTF-8: replaced, two of them could become one."""
    data = good()
    assert data.count(b"plain") > 0
    return data.replace(b"plain", b"plai\xff")


def circle() -> bytes:
    """A node that reads what it gives."""
    data = good()
    node = graph_of(data).Nodes(0)
    place, output = (node._tab.Vector(node._tab.Offset(slot)) for slot in (20, 22))
    target = output + struct.unpack_from("<I", data, output)[0]
    return replaced(data, place, struct.pack("<I", target - place))


def same_names() -> bytes:
    """Two stored tensors of one name: which of them counts?"""
    made = model([helper.make_node("Add", ["one", "two"], ["x"])], {"two": ONE})
    data = written(made.SerializeToString())
    tensors = weights(data)
    place = tensors[b"two"]._tab.Pos + tensors[b"two"]._tab.Offset(4)
    place += struct.unpack_from("<I", data, place)[0] + 4
    return replaced(data, place, b"one")


def session(fill: Callable[[Any], Callable[[], None]]) -> bytes:
    """A file that is nearly empty. `fill` writes something and returns what puts it into the model."""
    builder = flatbuffers.Builder(0)
    add = fill(builder)
    fbs.Model.Start(builder)
    add()
    end = fbs.Model.End(builder)
    fbs.InferenceSession.Start(builder)
    fbs.InferenceSession.AddModel(builder, end)
    builder.Finish(fbs.InferenceSession.End(builder), file_identifier=b"ORTM")
    return bytes(builder.Output())


def shared(size: int, count: int) -> bytes:
    """One long text, named many times: every reader makes a copy of it each time."""

    def fill(builder: Any) -> Callable[[], None]:
        text = builder.CreateString("a" * size)
        fbs.StringStringEntry.Start(builder)
        fbs.StringStringEntry.AddKey(builder, text)
        fbs.StringStringEntry.AddValue(builder, text)
        pair = fbs.StringStringEntry.End(builder)
        builder.StartVector(4, count, 4)
        for _each in range(count):
            builder.PrependUOffsetTRelative(pair)
        pairs = builder.EndVector()
        return lambda: fbs.Model.AddMetadataProps(builder, pairs)

    return session(fill)


ORT_FILES: dict[str, Callable[[], bytes]] = {
    **{name: lambda name=name: converted(name) for name in WRITTEN},  # type: ignore[misc]
    "40,000 nodes": lambda: written(chain(40_000, start="latents").SerializeToString()),
    "room for 2^32 nodes": places,
    "a node with the number 2^31": index,
    "a tensor without its numbers": sides,
    "edges that are none": edges,
    "a name that is no text": no_text,
    "two tensors of one name": same_names,
    "a value that needs itself": circle,
    "a long text, 500,000 times": lambda: shared(1 << 20, 500_000),
    "3 million entries": lambda: shared(0, 3_000_000),
}
