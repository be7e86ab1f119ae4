"""Lower ONNX graphs to MIL, Core ML's intermediate language: a registry of one function per ONNX operator.

MIL's operators are documented with coremltools (`coremltools.converters.mil.mil.ops.defs`). Nothing is
approximated: an operator, an attribute or a shape that no function here knows is an error.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from moebius_edge.common.errors import ExportError
from moebius_edge.common.tensors import Array
from moebius_edge.export.targets.coreml.tools import Function, Program, Var, mb, types
from moebius_edge.onnx_tools.attributes import attributes_of

MAX_RANK = 5  # of any tensor: Core ML has none above
DTYPES = {TensorProto.FLOAT: types.fp32, TensorProto.FLOAT16: types.fp16}  # of inputs and outputs

Lowering = Callable[["Node"], "Var | Sequence[Var]"]
LOWERINGS: dict[str, Lowering] = {}  # by ONNX operator


def lowers(*operators: str) -> Callable[[Lowering], Lowering]:
    """Register a function for ONNX operators; those of other domains as "domain:operator"."""

    def register(function: Lowering) -> Lowering:
        LOWERINGS.update(dict.fromkeys(operators, function))
        return function

    return register


class Scope:
    """The constants, makers and values of one graph while it is lowered."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.tensors = {tensor.name: tensor for tensor in model.graph.initializer}
        self.makers = {name: node for node in model.graph.node for name in node.output}
        self.values: dict[str, Var] = {}

    def array(self, name: str) -> Array | None:
        """Return a constant; None for what is computed.

        Core ML has no 64-bit integers: they are clipped to 32 bits, INT64_MAX for one.
        """
        if name not in self.tensors:
            return None
        found = numpy_helper.to_array(self.tensors[name])
        if found.dtype == np.int64:
            limits = np.iinfo(np.int32)
            return found.clip(limits.min, limits.max).astype(np.int32)
        return found

    def var(self, name: str) -> Var:
        """Return a value in MIL; a constant becomes one at its first use."""
        if name not in self.values:
            self.values[name] = mb.const(val=self.array(name), name=identifier(name))
        return self.values[name]


class Node:
    """One ONNX node, as the functions of the registry see it."""

    def __init__(self, proto: onnx.NodeProto, scope: Scope) -> None:
        self.proto, self.scope = proto, scope
        self.operator = f"{proto.domain}:{proto.op_type}" if proto.domain else proto.op_type
        self.name = proto.name or proto.output[0]
        self.attributes = attributes_of(proto)
        self.unread = set(self.attributes)
        self.label = identifier(proto.output[0])  # for the MIL operator

    def has(self, index: int) -> bool:
        """Return whether an optional input is given."""
        return index < len(self.proto.input) and bool(self.proto.input[index])

    def var(self, index: int) -> Var:
        """Return input `index` as a value of MIL."""
        return self.scope.var(self.proto.input[index])

    def array(self, index: int) -> Array | None:
        """Return an input that is a constant; None when it is computed or not given."""
        return self.scope.array(self.proto.input[index]) if self.has(index) else None

    def constant(self, index: int) -> Array:
        """Return an input that has to be a constant; refuse the node when it is computed."""
        found = self.array(index)
        if found is None:
            self.refuse(f"its input {index} is computed; expected a constant")
        return found

    def integers(self, index: int) -> list[int]:
        """Return a constant input as a list of numbers."""
        return [int(number) for number in self.constant(index).reshape(-1)]

    def attribute(self, name: str, default: Any = None) -> Any:
        """Return an attribute, or its default in the ONNX specification, which the caller gives.

        Attributes that no call has read are refused in the end.
        """
        self.unread.discard(name)
        value = self.attributes.get(name, default)
        return value.decode() if isinstance(value, bytes) else value

    def require(self, **expected: Any) -> None:
        """Refuse the node if one of its attributes differs from the given value, which is its default."""
        for name, value in expected.items():
            if (found := self.attribute(name, value)) != value:
                self.refuse(f"its {name} is {found}; expected {value}")

    def maker(self, index: int) -> onnx.NodeProto | None:
        """Return the ONNX node that computes an input; None for constants and inputs of the graph."""
        return self.scope.makers.get(self.proto.input[index])

    def refuse(self, why: str) -> NoReturn:
        """Raise ExportError that names the node and says `why` it cannot be lowered."""
        raise ExportError(
            f"{self.name} ({self.operator}) cannot be lowered to Core ML: {why}; export for another target, "
            "or teach moebius_edge/export/coreml"
        )


def lower(model: onnx.ModelProto, opset: Any) -> Program:
    """Return a MIL program with one function, `main`, whose inputs and outputs have the graph's names.

    `opset`: a deployment target of coremltools. Raises ExportError for what cannot be lowered.
    """
    scope = Scope(model)
    inputs = {value.name: _placeholder(value) for value in model.graph.input}
    with Function(inputs, opset_version=opset) as main:
        scope.values |= main.inputs
        for proto in model.graph.node:
            _lower(Node(proto, scope))
        main.set_outputs([_output(scope.values[value.name], value.name) for value in model.graph.output])
    program = Program()
    program.add_function("main", main)
    return program


def _placeholder(value: onnx.ValueInfoProto) -> Any:
    shape, kind = _shape(value), value.type.tensor_type.elem_type
    if kind not in DTYPES or not all(size > 0 for size in shape):
        raise ExportError(
            f"the input {value.name} is {TensorProto.DataType.Name(kind).lower()} {list(shape)}; expected "
            "float or float16 of fixed sizes"
        )
    return mb.placeholder(shape=shape, dtype=DTYPES[kind])


def _lower(node: Node) -> None:
    function = LOWERINGS.get(node.operator)
    if function is None:
        node.refuse("this operator is not known")
    try:
        made = function(node)
    except (ValueError, TypeError, KeyError, IndexError) as error:  # coremltools' and ours, of odd nodes
        node.refuse(str(error) or type(error).__name__)
    if node.unread:
        node.refuse(f"its {', '.join(sorted(node.unread))} is not known")
    values = made if isinstance(made, Sequence) else [made]
    for name, value in zip(node.proto.output, values, strict=True):
        if value.rank > MAX_RANK:
            node.refuse(f"its result has {value.rank} dimensions; at most {MAX_RANK} are possible")
        node.scope.values[name] = value


def _output(value: Var, name: str) -> Var:
    """Return the value under the graph's name for it."""
    if value.name == name:
        return value
    return mb.identity(x=value, name=name)


def _shape(value: onnx.ValueInfoProto) -> list[int]:
    return [dimension.dim_value for dimension in value.type.tensor_type.shape.dim]


def number(like: Var, value: float) -> np.generic:
    """Return a number in the type of a value; MIL does not mix types."""
    made: np.generic = types.nptype_from_builtin(like.dtype)(value)
    return made


def identifier(name: str) -> str:
    """Return a name with "_" for the characters that MIL does not allow."""
    return re.sub(r"\W", "_", name, flags=re.ASCII)
