"""Choose which weights of a graph become integers, and along which axes."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx
from onnx import TensorProto

from moebius_edge.calibration.weights.encodings import WeightEncoding
from moebius_edge.common.errors import InvalidInput
from moebius_edge.onnx_tools.attributes import attributes_of

Reason = Literal[
    "asked",
    "shared",  # used in roles that need different axes, or by other operators as well
    "depthwise",  # a few numbers per channel, and each of them counts
    "small",
]


@dataclass(frozen=True)
class WeightOptions:
    """What is quantized, and how it is written. Raises InvalidInput for impossible numbers and forms."""

    # Numbers; smaller weights stay FP32. This is more than the first and the last convolution of every graph
    # have. Keeping the time embedding as well was measured on nano: it changes nothing.
    min_size: int = 4096
    block: int = 32  # of w4: weights per scale
    encoding: WeightEncoding = "arithmetic"  # of the written integers
    half_scales: bool = False  # scales of 8 bits are numbers of float16, so that they may become that
    keep: tuple[str, ...] = ()  # weights that stay FP32 in any case

    def __post_init__(self) -> None:
        if self.min_size < 1:
            raise InvalidInput(f"min_size is {self.min_size}; expected 1 or more numbers")
        if self.block < 16 or self.block & (self.block - 1):
            raise InvalidInput(f"block is {self.block}; expected a power of two, 16 or more")
        if self.encoding not in ("arithmetic", "dequantize"):
            raise InvalidInput(f"encoding is {self.encoding!r}; expected arithmetic or dequantize")


@dataclass(frozen=True)
class KeptWeight:
    """A weight of a Conv, Gemm or MatMul that stays float32."""

    name: str
    size: int  # numbers
    reason: Reason


@dataclass(frozen=True)
class WeightRole:
    """A weight in its role: `inner` is an axis that is summed over, the `outer` ones are kept apart."""

    name: str
    inner: int
    outer: tuple[int, ...]
    depthwise: bool = False


def select(
    model: onnx.ModelProto, options: WeightOptions
) -> tuple[dict[str, WeightRole], tuple[KeptWeight, ...]]:
    """Return the weights to quantize, in the order of the graph, and those of the same operators that stay.

    Raises InvalidInput for an unknown name in `options.keep`.
    """
    graph = model.graph
    shapes = {t.name: tuple(t.dims) for t in graph.initializer if t.data_type == TensorProto.FLOAT}
    for name in options.keep:
        if name not in shapes:
            raise InvalidInput(f"there is no weight {name!r} to keep in FP32")
    uses: dict[str, set[WeightRole]] = {}
    known: Counter[str] = Counter()
    for node in graph.node:
        for use in roles(node, shapes):
            uses.setdefault(use.name, set()).add(use)
            known[use.name] += 1
    readers = Counter(name for node in graph.node for name in node.input)
    readers.update(value.name for value in graph.output)
    sizes = {name: int(np.prod(shapes[name])) for name in uses}
    reasons: dict[str, Reason] = {}
    for name, found in uses.items():
        if name in options.keep:
            reasons[name] = "asked"
        elif len(found) > 1 or readers[name] > known[name]:
            reasons[name] = "shared"
        elif next(iter(found)).depthwise:
            reasons[name] = "depthwise"
        elif sizes[name] < options.min_size:
            reasons[name] = "small"
    chosen = {name: next(iter(found)) for name, found in uses.items() if name not in reasons}
    return chosen, tuple(KeptWeight(name, sizes[name], reasons[name]) for name in uses if name in reasons)


def roles(node: onnx.NodeProto, shapes: Mapping[str, tuple[int, ...]]) -> Iterator[WeightRole]:
    """Yield the constant operands of a Conv, Gemm or MatMul; `shapes` are those of the float weights."""
    attributes = attributes_of(node)
    if node.op_type == "Conv" and (name := node.input[1]) in shapes:
        shape = shapes[name]
        # Inputs per output channel is axis 1; a depthwise convolution has one.
        yield WeightRole(name, 1, (0,), depthwise=shape[1] == 1 and attributes.get("group", 1) > 1)
    elif node.op_type == "Gemm":
        for k, inner in enumerate(
            (0 if attributes.get("transA") else 1, 1 if attributes.get("transB") else 0)
        ):
            if (name := node.input[k]) in shapes:
                yield WeightRole(name, inner, (1 - inner,))
    elif node.op_type == "MatMul":
        for k in range(2):
            if (name := node.input[k]) in shapes:
                rank = len(shapes[name])
                inner = rank - 1 if k == 0 else max(rank - 2, 0)
                outer = tuple(axis for axis in reversed(range(rank)) if axis != inner)
                if outer:
                    yield WeightRole(name, inner, outer)
