"""Read what an ONNX file says of its graph, without onnx and without loading its weights.

A walk along the fields of onnx.proto (github.com/onnx/onnx) that say how large things are and where weights
lie. What no exporter of this project writes is refused on the way: see `read`.
"""

import mmap
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from moebius_edge.runtimes.protobuf import CUT_OFF, LENGTH, Field, Reader

MAX_FIELDS = 2_000_000  # of a file that are read: a few seconds
MAX_STRUCTURE = 16 << 20  # bytes of a file that are no weights: engines make 25 times as much of them
MAX_NODES = 32_768
MAX_ENDS = 1024  # inputs and outputs of a node; engines take the square of the time
MAX_RANK = 16
MAX_INTEGERS = 1024  # in an attribute

# Bits of an element, by TensorProto.DataType; strings are not among them.
BITS = {
    **dict.fromkeys((1, 6, 12), 32),  # float, int32, uint32
    **dict.fromkeys((2, 3, 9, 17, 18, 19, 20), 8),  # uint8, int8, bool, float8
    **dict.fromkeys((4, 5, 10, 16), 16),  # uint16, int16, float16, bfloat16
    **dict.fromkeys((7, 11, 13, 14), 64),  # int64, double, uint64, complex64
    **{15: 128, 21: 4, 22: 4, 23: 4},  # complex128, uint4, int4, float4
}
CODES = {1: "<f4", 6: "<i4", 7: "<i8", 11: "<f8"}  # those whose numbers can decide a size, for numpy
# Fields of TensorProto with numbers: the most elements that a byte of them can hold.
RAW, TYPED = 9, {4: 0.25, 5: 2, 7: 1, 10: 0.125, 11: 1}


@dataclass(slots=True)
class Tensor:
    """One stored tensor."""

    name: str = ""
    type: int = 0
    dims: tuple[int, ...] = ()
    raw: tuple[int, int] | None = None  # where its bytes are in the file
    typed: float = 0  # elements that its other fields can hold at most
    numbers: Sequence[float] = ()  # of a small one that is not raw
    external: dict[str, str] | None = None  # location, offset, length


@dataclass(slots=True)
class Node:
    """One operator."""

    kind: str  # "Conv"; of another domain than ONNX's own "com.microsoft:QuickGelu"
    inputs: list[str]  # "" for one that is left away
    outputs: list[str]
    attributes: dict[str, Any]  # int, list of int, str or Tensor; floats, which decide no size, are None


@dataclass
class OnnxFile:
    """The graph of one file, as long as the file is open."""

    data: mmap.mmap
    tensors: dict[str, Tensor]  # the stored ones that have a name in the graph
    inputs: list[str]  # names
    nodes: Iterator[Node]  # each after those that it needs; raises ValueError for one that may not be

    def numbers(self, tensor: Tensor) -> Sequence[float]:
        """Return the numbers of a small tensor. Raises ValueError when they are elsewhere, or too many."""
        code = CODES.get(tensor.type)
        if code is None or tensor.external:
            raise ValueError(f"{tensor.name[:80]!r} is stored as no such numbers")
        if tensor.raw is None:
            return tensor.numbers
        start, end = tensor.raw
        if end - start > 8 * MAX_INTEGERS:
            raise ValueError(f"{tensor.name[:80]!r} has more than {MAX_INTEGERS} numbers")
        found: list[float] = np.frombuffer(self.data[start:end], code).tolist()
        return found


@contextmanager
def read(path: Path) -> Iterator[OnnxFile]:
    """Open an ONNX file for the time of the block.

    Raises ValueError for what is no ONNX file; for sparse tensors, functions and graphs inside of nodes
    (Loop, Scan, If), whose size nothing bounds; for more than `MAX_NODES`, `MAX_FIELDS` or `MAX_STRUCTURE`.
    """
    if path.stat().st_size == 0:
        raise ValueError("the file is empty")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        reader = Reader(data, MAX_FIELDS)
        spans: list[tuple[int, int]] = []  # of the nodes
        found = OnnxFile(data, {}, [], (_node(reader, *span) for span in spans))
        weights = 0
        for number, wire, start, end in reader.fields(0, len(data)):
            if number == 25 and wire == LENGTH:
                raise ValueError("it has functions of its own, which moebius-edge does not write")
            if number == 7 and wire == LENGTH:
                weights += _graph(reader, found, spans, start, end)
        if (rest := len(data) - weights) > MAX_STRUCTURE:
            raise ValueError(
                f"it has {rest:,} bytes that are no weights; at most {MAX_STRUCTURE:,} are allowed"
            )
        yield found


def _graph(reader: Reader, found: OnnxFile, spans: list[tuple[int, int]], start: int, end: int) -> int:
    """Note the nodes and tensors of a GraphProto; return how many bytes of it are weights."""
    weights = 0
    for part in reader.fields(start, end):
        number, wire, left, right = part
        if wire != LENGTH:
            continue
        if number == 1:
            if len(spans) == MAX_NODES:
                raise ValueError(f"it has more than {MAX_NODES:,} nodes")
            spans.append((left, right))
        elif number == 5:
            tensor = _tensor(reader, part)
            found.tensors[tensor.name] = tensor
            weights += tensor.raw[1] - tensor.raw[0] if tensor.raw else 0
        elif number == 11:
            names = [reader.text(each) for each in reader.fields(left, right) if each[0] == 1]
            found.inputs += names[-1:]
        elif number == 15:
            raise ValueError("it has sparse tensors, which moebius-edge does not write")
    return weights


def _node(reader: Reader, start: int, end: int) -> Node:
    kind = domain = ""
    node = Node("", [], [], {})
    for part in reader.fields(start, end):
        number = part[0]
        if number == 1:
            node.inputs.append(reader.text(part))
        elif number == 2:
            node.outputs.append(reader.text(part))
        elif number == 4:
            kind = reader.text(part)
        elif number == 7:
            domain = reader.text(part)
        elif number == 5:
            name, value = _attribute(reader, part)
            node.attributes[name] = value
    if len(node.inputs) + len(node.outputs) > MAX_ENDS:
        raise ValueError(f"a node has more than {MAX_ENDS:,} inputs and outputs")
    node.kind = node_kind(domain, kind)
    return node


def node_kind(domain: str, kind: str) -> str:
    """Return the name of an operator as a `Node` has it."""
    return kind if domain in ("", "ai.onnx") else f"{domain}:{kind}"


def _attribute(reader: Reader, attribute: Field) -> tuple[str, Any]:
    name = ""
    value: Any = None
    integers: list[int] = []
    for part in reader.fields(*_span(attribute)):
        number = part[0]
        if number == 1:
            name = reader.text(part)
        elif number == 3:
            value = reader.integers(part, 1)[0]
        elif number == 4:
            value = reader.text(part)
        elif number == 5:
            if isinstance(value, Tensor):  # protobuf joins the two, and both count
                raise ValueError("a stored tensor is in two parts")
            value = _tensor(reader, part)
        elif number == 8:
            integers += reader.integers(part, MAX_INTEGERS - len(integers))
        elif number in (6, 11):
            raise ValueError(
                f"a node has a graph of its own ({name[:40]}), as Loop, Scan and If have; moebius-edge does "
                "not write such nodes"
            )
        elif number in (10, 22, 23):
            raise ValueError("a node has lists of tensors, or sparse ones, which moebius-edge does not write")
    return name, integers or value


def _tensor(reader: Reader, tensor: Field) -> Tensor:
    found = Tensor()
    dims: list[int] = []
    for part in reader.fields(*_span(tensor)):
        number, wire, start, end = part
        if number == 1:
            dims += reader.integers(part, MAX_RANK)
            if len(dims) > MAX_RANK:
                raise ValueError(f"a tensor has more than {MAX_RANK} dimensions")
        elif number == 2:
            found.type = start
        elif number == 8:
            found.name = reader.text(part)
        elif number == RAW and wire == LENGTH:
            found.raw = (start, end)
        elif number == 13:
            entry = {each[0]: reader.text(each) for each in reader.fields(start, end)}
            found.external = (found.external or {}) | {sys.intern(entry.get(1, "")): entry.get(2, "")}
        elif number in TYPED:
            found.typed += (end - start) * TYPED[number] if wire == LENGTH else 1
            if len(found.numbers) < MAX_INTEGERS and end - start <= 8 * MAX_INTEGERS:
                found.numbers = (*found.numbers, *_numbers(reader, part))
    found.dims = tuple(dims)
    return found


def _numbers(reader: Reader, part: Field) -> list[float]:
    number, wire, start, end = part
    if number in (5, 7):
        return list(reader.integers(part, MAX_INTEGERS))
    size = 4 if number == 4 else 8
    if wire != LENGTH or number not in (4, 10) or (end - start) % size:
        return []
    found: list[float] = np.frombuffer(reader.bytes(part), f"<f{size}").tolist()
    return found


def _span(field: Field) -> tuple[int, int]:
    """Return where the message in a field begins and ends. Raises ValueError for a field that has none."""
    _, wire, start, end = field
    if wire != LENGTH:
        raise ValueError(CUT_OFF)
    return start, end
