"""Refuse a graph before an engine opens its file, when it takes more memory or time than any model here.

An engine computes all that follows from stored numbers alone while it loads a graph (it *folds* them), and
the rest when it runs. How large all of it is follows from the file, because the inputs have fixed shapes.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from moebius_edge.runtimes import onnx_file, ort_file
from moebius_edge.runtimes.onnx_file import BITS, Node, OnnxFile, Tensor
from moebius_edge.runtimes.shape_rules import result
from moebius_edge.runtimes.shapes import Operator, Shape


class Outside(ValueError):
    """Weights lie in a file that they may not lie in; the message is its name."""


@dataclass(slots=True)
class Sizes:
    """What a graph takes, or what it may take. Numbers are elements of arrays."""

    value: int = 0  # the largest value
    alive: int = 0  # all values that are needed at one time, in the order of the file
    stored: int = 0  # all stored tensors
    folded: int = 0  # all values that follow from stored ones alone, but see `NOT_FOLDED`
    folded_work: int = 0  # multiplications, or numbers read and written, to compute these
    work: int = 0  # the same for the whole graph


# At least four times what the full-size graphs take (docs/bundle.md has the numbers). What is folded must
# also follow from the size of the file: engines keep the steps to it, too, and w4 has eight for a weight.
FOLDED_PER_BYTE, FOLDED_ALWAYS = 48, 1 << 24
MOST = Sizes(
    value=1 << 28,
    alive=1 << 30,
    stored=1 << 30,
    folded=1 << 33,
    folded_work=1 << 34,
    work=1 << 43,
)
# Engines keep quantized weights as integers: what these give, and what follows from it, waits for the run.
NOT_FOLDED = frozenset({"DequantizeLinear"})
WORDS = {
    "value": "a value of {found:,} numbers",
    "alive": "values of {found:,} numbers at one time",
    "stored": "{found:,} stored numbers",
    "folded": "{found:,} numbers to compute while it is loaded",
    "folded_work": "{found:,} multiplications while it is loaded",
    "work": "{found:,} multiplications",
}


@dataclass(slots=True)
class Value:
    """One array of the graph."""

    shape: Shape
    folded: bool  # follows from stored ones alone
    tensor: Tensor | None = None  # if it is stored


Values = dict[str, Value]


class _Walk:
    """The graph's values so far, and what they take."""

    def __init__(self, file: OnnxFile, inputs: Mapping[str, Shape], values: Values, weights: int) -> None:
        self.file, self.sizes, self.values = file, Sizes(), values
        self.folded = min(MOST.folded, FOLDED_PER_BYTE * weights + FOLDED_ALWAYS)
        values.update({name: Value(shape, False) for name, shape in inputs.items()})
        self.last: dict[str, int] = {}  # value -> the node that reads it last
        self.born: list[list[str]] = []  # node -> what it gives
        for tensor in file.tensors.values():
            self.values[tensor.name] = Value(tensor.dims, True, tensor)
            self.sizes.stored += math.prod(tensor.dims)

    def step(self, node: Node) -> None:
        """Take one more node. Raises ValueError for one whose size cannot be told, or is over a limit."""
        read = [self._value(name) for name in node.inputs]
        tensor = node.attributes.get("value") if node.kind == "Constant" else None
        shapes = [None if value is None else value.shape for value in read]
        found = result(Operator(node, shapes, lambda index: self._stored(read, index)))
        folded = node.kind not in NOT_FOLDED and all(value is None or value.folded for value in read)
        made = [found.shapes[min(i, len(found.shapes) - 1)] for i in range(len(node.outputs))]
        sizes = [math.prod(shape) for shape in made]
        work = max(found.work, sum(math.prod(value.shape) for value in read if value), sum(sizes))
        self.sizes.value = max([self.sizes.value, *sizes])
        self.sizes.work += work
        if folded:
            self.sizes.folded += sum(sizes)
            self.sizes.folded_work += work
        if self.sizes.value > MOST.value or self.sizes.folded > self.folded:
            self.require()
        for name in node.inputs:
            self.last[name] = len(self.born)
        self.born.append([name for name in node.outputs if name])
        for name, shape in zip(node.outputs, made, strict=True):
            self.values[name] = Value(shape, folded, tensor if isinstance(tensor, Tensor) else None)

    def end(self) -> None:
        """Add up what is alive at one time."""
        alive = 0
        dying: dict[int, int] = {}
        for index, names in enumerate(self.born):
            for name in names:
                size = math.prod(self.values[name].shape)
                alive += size
                last = self.last.get(name, index)
                dying[last] = dying.get(last, 0) + size
            self.sizes.alive = max(self.sizes.alive, alive)
            alive -= dying.pop(index, 0)
        self.require()

    def _value(self, name: str) -> Value | None:
        if not name:
            return None
        if name not in self.values:
            raise ValueError(f"it reads {name[:80]!r}, which nothing before it gives")
        return self.values[name]

    def _stored(self, read: list[Value | None], index: int) -> Sequence[float]:
        value = read[index] if index < len(read) else None
        if value is None or value.tensor is None:
            raise ValueError("its size is computed, not stored")
        return self.file.numbers(value.tensor)

    def require(self) -> None:
        """Raise ValueError when something is over its limit."""
        most = asdict(replace(MOST, folded=self.folded))
        for name, found in asdict(self.sizes).items():
            if found > most[name]:
                raise ValueError(
                    f"it takes {WORDS[name].format(found=found)}; at most {most[name]:,} are allowed"
                )


def graph_sizes(
    path: Path, inputs: Mapping[str, Shape], files: Mapping[str, int], values: Values | None = None
) -> Sizes:
    """Return what the graph of an .onnx or .ort file takes, and check that it is within `MOST`.

    `inputs`: name -> shape; `files`: name -> size in bytes of those that its weights may lie in, itself
    among them; `values`: is filled with those of the graph. Raises ValueError for what is no such file, for a
    graph that may take more, and for one whose size cannot be told; Outside for weights in other files.
    """
    kind = ort_file if path.suffix == ".ort" else onnx_file
    with kind.read(path) as file:
        weights = sum(check_tensor(tensor, files) for tensor in file.tensors.values())
        weights = min(weights, sum(files.values()))  # several may lie at the same place
        if (names := set(file.inputs) - set(file.tensors)) != set(inputs):
            raise ValueError(f"its inputs are {str(sorted(names))[:200]}; the manifest says {sorted(inputs)}")
        walk = _Walk(file, inputs, {} if values is None else values, weights)
        walk.require()
        for node in file.nodes:
            for value in node.attributes.values():
                if isinstance(value, Tensor):
                    check_tensor(value, files)
            try:
                walk.step(node)
            except ValueError as error:
                raise ValueError(f"{node.kind[:60]} -> {', '.join(node.outputs)[:80]}: {error}") from error
        walk.end()
    return walk.sizes


def check_tensor(tensor: Tensor, files: Mapping[str, int]) -> int:
    """Return the bytes of a stored tensor. Raises ValueError unless all its numbers are there."""
    bits = BITS.get(tensor.type)
    name = repr(tensor.name[:80])
    if bits is None or min(tensor.dims, default=0) < 0:
        raise ValueError(f"the stored tensor {name} is of no type and shape that are known here")
    count = math.prod(tensor.dims)
    size = -(-count * bits // 8)
    if tensor.external:
        location = tensor.external.get("location", "")
        if location not in files:
            raise Outside(location)
        try:
            start = int(tensor.external.get("offset", 0))
            length = int(tensor.external.get("length", size))
        except ValueError:
            raise ValueError(f"the stored tensor {name} does not say where its numbers lie") from None
        fits = length == size and 0 <= start <= files[location] - size
    elif tensor.raw is not None:
        fits = tensor.raw[1] - tensor.raw[0] == size
    else:
        fits = count <= tensor.typed
    if not fits:
        raise ValueError(
            f"the stored tensor {name} is {list(tensor.dims)}, but not all its numbers are there"
        )
    return size
