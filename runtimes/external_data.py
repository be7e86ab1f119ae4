"""Find where an ONNX file keeps its weights, without onnx and without loading them.

A walk over the protobuf wire format (protobuf.dev/programming-guides/encoding) along the fields of
onnx.proto3 that lead to tensors; everything else, the weights too, is skipped by its length.
"""

import mmap
from collections.abc import Iterator
from pathlib import Path

from moebius_edge.bundle.folder import Bundle

MAX_DEPTH = 64  # nested subgraphs

# Message type -> field number -> message type of the field (onnx.proto3).
FIELDS: dict[str, dict[int, str]] = {
    "Model": {7: "Graph", 25: "Function"},
    "Graph": {1: "Node", 5: "Tensor", 15: "Sparse"},
    "Function": {7: "Node", 11: "Attribute"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "Sparse", 23: "Sparse"},
    "Sparse": {1: "Tensor", 2: "Tensor"},
    "Tensor": {13: "Entry"},
}
VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5


def graph_files(bundle: Bundle, graph: str) -> set[str]:
    """Return the names of a bundle's files that hold a graph.

    They are the graph's own file or all files of its folder, and for ONNX those of its weights. Raises
    ValueError when it is no ONNX file.
    """
    file = bundle.manifest.graphs[graph].file
    if not file.endswith(".onnx"):
        return {name for name in bundle.manifest.files if name == file or name.startswith(f"{file}/")}
    folder = Path(file).parent
    return {file, *((folder / each).as_posix() for each in external_locations(bundle.file(file)))}


def external_locations(path: Path) -> set[str]:
    """Return the file names that tensors of the ONNX file point to. Raises ValueError when it is not one."""
    if path.stat().st_size == 0:
        raise ValueError("the file is empty")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return set(_walk(data, 0, len(data), "Model", 0))


def _walk(data: mmap.mmap, start: int, end: int, kind: str, depth: int) -> Iterator[str]:
    if depth > MAX_DEPTH:
        raise ValueError("it is nested too deep")
    for field, left, right in _fields(data, start, end):
        inner = FIELDS[kind].get(field)
        if inner == "Entry":
            entry = {number: data[a:b] for number, a, b in _fields(data, left, right)}
            if entry.get(1) == b"location":
                yield entry.get(2, b"").decode("utf-8", "replace")
        elif inner is not None:
            yield from _walk(data, left, right, inner, depth + 1)


def _fields(data: mmap.mmap, position: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield (field number, start, end) of the length-delimited fields between `position` and `end`."""
    while position < end:
        tag, position = _varint(data, position, end)
        wire = tag & 7
        if wire == VARINT:
            _, position = _varint(data, position, end)
        elif wire == FIXED64:
            position += 8
        elif wire == FIXED32:
            position += 4
        elif wire == LENGTH:
            length, position = _varint(data, position, end)
            if position + length > end:
                raise ValueError("it is cut off or damaged")
            yield tag >> 3, position, position + length
            position += length
        else:
            raise ValueError("it is not a protobuf message")
    if position != end:
        raise ValueError("it is cut off or damaged")


def _varint(data: mmap.mmap, position: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while position < end and shift < 70:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise ValueError("it is cut off or damaged")
