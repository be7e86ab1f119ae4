"""Convert an FP32 graph to FP16 with the same interface: float32 outside, float16 inside wherever it is safe.

Weights and intermediate tensors become float16. What the plan keeps stays as it is, between Casts; a tensor
is cast at most once in each direction. Inputs and outputs keep their names and float32.

ONNX Runtime's CPU computes float16 graphs in float32 and leaves most of the roundings out: there such a graph
is closer to FP32 than on an engine that stores float16.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from moebius_edge.calibration.fp16.plan import (
    NORMS,
    SMALLEST_NORMAL,
    Fp16Options,
    Kept,
    Plan,
    Planner,
    Rescaled,
    epsilon,
    node_name,
)
from moebius_edge.common.errors import InvalidInput
from moebius_edge.common.tensors import Array

__all__ = ["Fp16Options", "Fp16Report", "Kept", "Rescaled", "to_fp16"]

DEFAULTS = Fp16Options()
SUFFIX: dict[int, str] = {TensorProto.FLOAT16: "fp16", TensorProto.FLOAT: "fp32"}


@dataclass(frozen=True)
class Fp16Report:
    """What a conversion did to the graph, in counts and bytes."""

    options: Fp16Options
    nodes: int  # that compute or move floats
    kept: tuple[Kept, ...]  # of them in FP32, in the order of the graph
    rescaled: tuple[Rescaled, ...]
    casts: int
    fp32_bytes: int  # float weights before
    bytes: int  # float weights now
    bytes_kept: int  # of them float32
    weights: int  # numbers that were rounded to float16
    flushed: int  # of them: became zero
    subnormal: int  # of them: below 2^-14, with fewer bits; engines may flush them
    small_epsilons: tuple[str, ...]  # normalizations whose epsilon is below 2^-14: it must not be float16

    def to_json(self) -> dict[str, Any]:
        """Return plain values for `json.dumps`."""
        return asdict(self)


def to_fp16(
    model: onnx.ModelProto, amplitudes: Mapping[str, float], options: Fp16Options = DEFAULTS
) -> tuple[onnx.ModelProto, Fp16Report]:
    """Convert a graph to float16 and report on it; `model` is not changed. Equal arguments give equal bytes.

    `amplitudes`: of every float32 input and intermediate tensor, from `amplitudes.amplitudes` on this graph.
    Raises InvalidInput when one is missing, when `options.keep` has an unknown name, and for a graph that
    holds float16 already; ExportError for one with control flow or functions.
    """
    if any(tensor.data_type == TensorProto.FLOAT16 for tensor in model.graph.initializer):
        raise InvalidInput("the graph holds float16 weights; expected an FP32 graph: export with fp32")
    model = _without_constants(model)
    planner = Planner(model, amplitudes, options)
    plan = planner.plan()
    writer = _Writer(model, planner, plan)
    for i, node in enumerate(model.graph.node):
        writer.add(i, node)
    result = writer.finish()
    onnx.checker.check_model(result, full_check=True)
    return result, _report(model, planner, plan, writer, result)


class _Writer:
    """A writer of the new graph's nodes, in order; casts and weights come where they are first needed."""

    def __init__(self, model: onnx.ModelProto, planner: Planner, plan: Plan) -> None:
        self.model, self.planner, self.plan = model, planner, plan
        self.outputs = planner.outputs
        self.names = {name for node in model.graph.node for name in (*node.input, *node.output)}
        # Logical tensor -> {type: name in the new graph}.
        self.forms: dict[str, dict[int, str]] = {
            value.name: {TensorProto.FLOAT: value.name}
            for value in model.graph.input
            if value.name in planner.floats
        }
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: list[onnx.TensorProto] = []
        self.casts = 0
        self.rounded: list[tuple[Array, Array]] = []

    def add(self, i: int, source: onnx.NodeProto) -> None:
        """Append node `i` with its inputs in the type that it computes in."""
        node = onnx.NodeProto()
        node.CopyFrom(source)
        half = i not in self.plan.kept
        for k, (name, takes) in enumerate(zip(source.input, self.planner.half_inputs(source), strict=True)):
            kind = TensorProto.FLOAT16 if half and takes else TensorProto.FLOAT
            node.input[k] = self._input(i, k, name, kind)
        if i in self.plan.epsilons:
            _set(node, "epsilon", self.plan.epsilons[i])
        kind = TensorProto.FLOAT16 if half else TensorProto.FLOAT
        for k, name in enumerate(source.output):
            if name in self.planner.floats:
                node.output[k] = self._output(name, kind)
                if half and node.op_type == "Cast":
                    _set(node, "to", TensorProto.FLOAT16)
        self.nodes.append(node)
        for name in source.output:  # graph outputs keep their name in float32
            if name in self.outputs and name in self.planner.floats and half:
                self._cast(self.forms[name][TensorProto.FLOAT16], name, TensorProto.FLOAT)
                self.forms[name][TensorProto.FLOAT] = name

    def _input(self, i: int, k: int, name: str, kind: int) -> str:
        """Return the name of input `k` of node `i` in the type `kind`; the tensor is made at first use."""
        if (i, k) in self.plan.weights:
            return self._weight(self._fresh(f"{name}.scaled{i}"), self.plan.weights[i, k], kind)
        if name in self.planner.weights:
            forms = self.forms.setdefault(name, {})
            if kind not in forms:
                # The first form takes the name; a weight that is needed in both types is stored twice.
                new = name if not forms else self._fresh(f"{name}.{SUFFIX[kind]}")
                forms[kind] = self._weight(new, numpy_helper.to_array(self.planner.weights[name]), kind)
            return forms[kind]
        if name not in self.forms:
            return name  # optional and absent, or not float32
        forms = self.forms[name]
        if kind not in forms:
            (other,) = forms.values()
            forms[kind] = self._fresh(f"{name}.{SUFFIX[kind]}")
            self._cast(other, forms[kind], kind)
        return forms[kind]

    def _output(self, name: str, kind: int) -> str:
        fresh = name in self.outputs and kind == TensorProto.FLOAT16
        new = self._fresh(f"{name}.{SUFFIX[kind]}") if fresh else name
        self.forms[name] = {kind: new}
        return new

    def _weight(self, name: str, values: Array, kind: int) -> str:
        if kind == TensorProto.FLOAT16:
            rounded = values.astype(np.float16)
            self.rounded.append((values, rounded))
            values = rounded
        self.tensors.append(numpy_helper.from_array(np.ascontiguousarray(values).reshape(values.shape), name))
        return name

    def _cast(self, source: str, target: str, kind: int) -> None:
        self.nodes.append(helper.make_node("Cast", [source], [target], name=f"{target}/Cast", to=kind))
        self.casts += 1

    def _fresh(self, name: str) -> str:
        while name in self.names:
            name += "_"
        self.names.add(name)
        return name

    def finish(self) -> onnx.ModelProto:
        """Return the new model."""
        source = self.model.graph
        used = {name for node in self.nodes for name in node.input} | self.outputs
        written = {tensor.name for tensor in self.tensors}
        others = [t for t in source.initializer if t.name in used and t.name not in written]
        graph = helper.make_graph(
            self.nodes, source.name, list(source.input), list(source.output), [*others, *self.tensors]
        )
        result = helper.make_model(
            graph, opset_imports=self.model.opset_import, ir_version=self.model.ir_version
        )
        result.producer_name = self.model.producer_name
        return result


def _report(
    model: onnx.ModelProto, planner: Planner, plan: Plan, writer: _Writer, result: onnx.ModelProto
) -> Fp16Report:
    tensors = [t for t in result.graph.initializer if t.data_type in SUFFIX]
    sizes = {kind: sum(_count(t) for t in tensors if t.data_type == kind) for kind in SUFFIX}
    small = [
        node_name(node)
        for i, node in enumerate(model.graph.node)
        if node.op_type in NORMS and plan.epsilons.get(i, epsilon(node)) < SMALLEST_NORMAL
    ]
    return Fp16Report(
        options=planner.options,
        nodes=sum(planner.is_float(node) for node in model.graph.node),
        kept=tuple(plan.kept.values()),
        rescaled=tuple(plan.rescaled),
        casts=writer.casts,
        fp32_bytes=4 * sum(_count(tensor) for tensor in planner.weights.values()),
        bytes=2 * sizes[TensorProto.FLOAT16] + 4 * sizes[TensorProto.FLOAT],
        bytes_kept=4 * sizes[TensorProto.FLOAT],
        weights=sizes[TensorProto.FLOAT16],
        flushed=sum(int(((new == 0) & (old != 0)).sum()) for old, new in writer.rounded),
        subnormal=sum(int(((np.abs(new) < SMALLEST_NORMAL) & (new != 0)).sum()) for _, new in writer.rounded),
        small_epsilons=tuple(small),
    )


def _count(tensor: onnx.TensorProto) -> int:
    return int(np.prod(tensor.dims))


def _set(node: onnx.NodeProto, name: str, value: float) -> None:
    """Set an attribute, replacing one of that name."""
    kept = [attribute for attribute in node.attribute if attribute.name != name]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute(name, value)])


def _without_constants(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with Constant nodes turned into initializers; the model itself when it has none."""
    constants = {node.output[0]: node for node in model.graph.node if node.op_type == "Constant"}
    if not constants:
        return model
    result = onnx.ModelProto()
    result.CopyFrom(model)
    del result.graph.node[:]
    result.graph.node.extend(node for node in model.graph.node if node.op_type != "Constant")
    for name, node in constants.items():
        (attribute,) = node.attribute
        value = helper.get_attribute_value(attribute)
        if attribute.name == "value":
            array = numpy_helper.to_array(value)
        elif attribute.name in ("value_float", "value_floats"):
            array = np.array(value, np.float32)
        elif attribute.name in ("value_int", "value_ints"):
            array = np.array(value, np.int64)
        else:
            raise InvalidInput(f"the Constant {name!r} has a {attribute.name}; expected numbers")
        result.graph.initializer.append(numpy_helper.from_array(array, name))
    return result
