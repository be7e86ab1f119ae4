"""Find where an ONNX file keeps its weights, without onnx and without loading them.

A walk along the fields of onnx.proto3 that lead to tensors; everything else, the weights too, is skipped by
its length.
"""

import mmap
from collections.abc import Iterator
from pathlib import Path

from moebius_edge.bundle.folder import Bundle
from moebius_edge.runtimes.onnx_file import MAX_FIELDS
from moebius_edge.runtimes.protobuf import LENGTH, Reader

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
        return set(_walk(Reader(data, MAX_FIELDS), 0, len(data), "Model", 0))


def _walk(reader: Reader, start: int, end: int, kind: str, depth: int) -> Iterator[str]:
    if depth > MAX_DEPTH:
        raise ValueError("it is nested too deep")
    for field in reader.fields(start, end):
        number, wire, left, right = field
        inner = FIELDS[kind].get(number)
        if inner is None or wire != LENGTH:
            continue
        if inner == "Entry":
            entry = {each[0]: reader.text(each) for each in reader.fields(left, right)}
            if entry.get(1) == "location":
                yield entry.get(2, "")
        else:
            yield from _walk(reader, left, right, inner, depth + 1)
