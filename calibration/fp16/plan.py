"""Decide what of a graph can be float16: one decision per node, from the ranges of its tensors.

float16 has 11 significant bits, a largest number of 65504 and full precision down to 2^-14. A node computes
in float16 unless a rule below says that its result would be wrong.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import onnx
from onnx import TensorProto, defs, numpy_helper

from moebius_edge.calibration.activations.amplitudes import float_tensors
from moebius_edge.calibration.fp16.entry import entry_nodes
from moebius_edge.common.errors import InvalidInput
from moebius_edge.common.tensors import Array
from moebius_edge.onnx_tools.attributes import attributes_of

LARGEST = 65504.0
SMALLEST_NORMAL = 2.0**-14
DIGITS = 11  # significant bits

Reason = Literal[
    "overflow",  # a tensor, times the safety factor, or a weight is beyond 65504
    "underflow",  # a whole tensor or factor is below 2^-14, where float16 loses bits
    "phase",  # a sine's or cosine's angle, or something it is computed from, would be rounded too much
    "input",  # it reads the graph's inputs before anything has averaged their roundings
    "no float16",  # the operator does not exist in float16
    "asked",  # named in `Fp16Options.keep`
    "follows",  # only moves data of a node that is kept
]

# Operators that move numbers and compute none, by the first input.
RESHAPES = {"Reshape", "Transpose", "Unsqueeze", "Squeeze", "Flatten", "Identity"}
MOVES = {"Slice", "Gather", "Expand", "Split", *RESHAPES}
ROUNDS = {"QuantizeLinear", "DequantizeLinear"}  # whose scales were chosen for the type they have
ADDS = {"Add", "Sub", "Sum", "Concat", "Pad", "Where", *MOVES}
PERIODIC = {"Sin", "Cos"}
NORMS = {"InstanceNormalization", "LayerNormalization", "GroupNormalization"}
DEFAULT_EPSILON = 1e-5  # of all three, in the ONNX specification


@dataclass(frozen=True)
class Fp16Options:
    """The limits of the decision. Raises InvalidInput for impossible ones."""

    safety: float = 4.0  # how much larger than in the samples a tensor may become without overflow
    phase_error: float = 1e-3  # radians by which rounding may move the angle of a sine or cosine
    rescale: bool = True  # scale down a convolution that overflows and feeds only normalizations
    keep: tuple[str, ...] = ()  # nodes (or tensors, for the nodes that make them) that stay FP32 in any case

    def __post_init__(self) -> None:
        if not 1.0 <= self.safety <= LARGEST:
            raise InvalidInput(f"safety is {self.safety}; expected 1 to {LARGEST:g}")
        if not self.phase_error > 0:
            raise InvalidInput(f"phase_error is {self.phase_error}; expected a positive angle in radians")


@dataclass(frozen=True)
class Kept:
    """A node that stays FP32."""

    node: str  # its name, or its first output's
    op: str
    reason: Reason
    tensor: str  # the tensor or weight that decided
    amplitude: float | None  # of that tensor; None: it did not matter


@dataclass(frozen=True)
class Rescaled:
    """A convolution whose result is scaled down, which the normalizations after it undo exactly."""

    node: str
    tensor: str
    amplitude: float  # before
    factor: float  # a power of two, so that no bit changes; epsilon is multiplied by its square


@dataclass
class Plan:
    """The decisions for one graph."""

    kept: dict[int, Kept] = field(default_factory=dict)  # by the index of the node
    rescaled: list[Rescaled] = field(default_factory=list)
    weights: dict[tuple[int, int], Array] = field(default_factory=dict)  # (node, input) -> scaled weights
    epsilons: dict[int, float] = field(default_factory=dict)  # node -> scaled epsilon


def node_name(node: onnx.NodeProto) -> str:
    """Return the name by which reports call a node: its own, or that of its first output."""
    return node.name or node.output[0]


class Planner:
    """The links and amplitudes of one graph; `plan` makes the decisions."""

    def __init__(self, model: onnx.ModelProto, ranges: Mapping[str, float], options: Fp16Options) -> None:
        """Take the `ranges`: the amplitude of every float32 input and intermediate tensor (`amplitudes`).

        Raises InvalidInput for a missing, negative or infinite one, and for an unknown name in `keep`.
        """
        self.nodes, self.options = list(model.graph.node), options
        self.opset = {entry.domain: entry.version for entry in model.opset_import}
        self.floats = float_tensors(model)
        self.ranges = dict(ranges)
        self.weights = {
            tensor.name: tensor for tensor in model.graph.initializer if tensor.data_type == TensorProto.FLOAT
        }
        for name in self.floats:
            if not 0 <= self.ranges.get(name, -1.0) < np.inf:
                raise InvalidInput(
                    f"the amplitude of {name!r} is {self.ranges.get(name)}; expected a finite number: "
                    "take it with amplitudes() from the same graph"
                )
        self.ranges |= {name: _largest(tensor) for name, tensor in self.weights.items()}
        self.inputs = {value.name for value in model.graph.input if value.name in self.floats}
        self.outputs = {value.name for value in model.graph.output}
        self.maker = {name: i for i, node in enumerate(self.nodes) for name in node.output}
        self.users: dict[str, list[int]] = {}
        for i, node in enumerate(self.nodes):
            for name in node.input:
                self.users.setdefault(name, []).append(i)
        names = {name for node in self.nodes for name in (node_name(node), *node.output)}
        for name in options.keep:
            if name not in names:
                raise InvalidInput(f"there is no node or tensor {name!r} to keep in FP32")

    def plan(self) -> Plan:
        """Make every decision; the order of the rules is the order of the reasons in a report."""
        plan = Plan()
        if self.options.rescale:
            for i in range(len(self.nodes)):
                self._rescale(i, plan)
        for i in self._phase():
            plan.kept[i] = self._keep(i, "phase", self._angles[i])
        for i, tensor in entry_nodes(self.nodes, self.inputs, {"Concat", *MOVES}).items():
            plan.kept.setdefault(i, self._keep(i, "input", tensor))
        for i, node in enumerate(self.nodes):
            if i not in plan.kept and self.is_float(node) and (kept := self._reason(i, node, plan)):
                plan.kept[i] = kept
        plan.kept = dict(sorted(plan.kept.items()))
        return plan

    def half_inputs(self, node: onnx.NodeProto) -> list[bool]:
        """Tell for each input whether the operator takes it as float16; Resize's scales are not taken so."""
        schema = self._schema(node)
        if schema is None:
            return [False] * len(node.input)
        formals = schema.inputs
        return [_takes_half(formals[min(i, len(formals) - 1)]) for i in range(len(node.input))]

    def _schema(self, node: onnx.NodeProto) -> defs.OpSchema | None:
        version = self.opset.get(node.domain or "", 0)
        try:
            return defs.get_schema(node.op_type, version, node.domain)
        except defs.SchemaError:
            return None

    def _has_half(self, node: onnx.NodeProto) -> bool:
        schema = self._schema(node)
        if schema is None or node.op_type in ("ConstantOfShape", "Constant"):
            return False
        formals = schema.outputs
        return all(
            _takes_half(formals[min(i, len(formals) - 1)])
            for i, name in enumerate(node.output)
            if name in self.floats
        )

    def is_float(self, node: onnx.NodeProto) -> bool:
        """Return whether a node takes or gives float32 tensors."""
        return any(name in self.floats for name in (*node.input, *node.output))

    def _reason(self, i: int, node: onnx.NodeProto, plan: Plan) -> Kept | None:
        if self._asked(node):
            return self._keep(i, "asked", node.output[0])
        if not self._has_half(node):
            return self._keep(i, "no float16", node.output[0])
        used = [
            (name, self._input_amplitude(i, k, name, plan))
            for k, (name, half) in enumerate(zip(node.input, self.half_inputs(node), strict=True))
            if half
        ]
        made = [(name, self.ranges[name]) for name in node.output if name in self.ranges]
        for name, amplitude in (*used, *made):
            # Weights are what they are; tensors may grow beyond the samples.
            if amplitude * (1.0 if name in self.weights else self.options.safety) > LARGEST:
                return self._keep(i, "overflow", name)
        # What is only added has the result's absolute precision; what is multiplied needs its own bits.
        for name, amplitude in (*made, *(() if node.op_type in ADDS | ROUNDS else used[:2])):
            if 0 < amplitude < SMALLEST_NORMAL:
                return self._keep(i, "underflow", name)
        if node.op_type in MOVES and (before := plan.kept.get(self.maker.get(node.input[0], -1))):
            return self._keep(i, "follows", node.input[0] if before.reason != "follows" else before.tensor)
        return None

    def _asked(self, node: onnx.NodeProto) -> bool:
        return bool({node_name(node), *node.output} & set(self.options.keep))

    def _input_amplitude(self, i: int, k: int, name: str, plan: Plan) -> float:
        """Return the largest magnitude of what node `i` gets as input `k`."""
        if (i, k) in plan.weights:
            return float(np.abs(plan.weights[i, k]).max(initial=0))
        return self.ranges.get(name, 0.0)

    def _keep(self, i: int, reason: Reason, tensor: str) -> Kept:
        node = self.nodes[i]
        measured = reason in ("overflow", "underflow", "phase")
        return Kept(
            node_name(node), node.op_type, reason, tensor, self.ranges.get(tensor) if measured else None
        )

    def _phase(self) -> Iterator[int]:
        """Yield sines and cosines of large angles, and every node that computes such an angle."""
        todo = [
            i
            for i, node in enumerate(self.nodes)
            if node.op_type in PERIODIC
            and _rounding(self.ranges.get(node.input[0], 0.0)) > self.options.phase_error
        ]
        self._angles = {i: self.nodes[i].input[0] for i in todo}
        seen: set[int] = set()
        while todo:
            i = todo.pop()
            if i in seen:
                continue
            seen.add(i)
            yield i
            for name in self.nodes[i].input:
                if name in self.floats and name in self.maker:
                    before = self.maker[name]
                    self._angles.setdefault(before, self._angles[i])
                    todo.append(before)

    def _rescale(self, i: int, plan: Plan) -> None:
        """Scale down node `i` if it is a convolution that would overflow and only normalizations see it."""
        node = self.nodes[i]
        computed = any(name and name not in self.weights for name in node.input[1:])
        if self._asked(node) or node.op_type != "Conv" or computed:
            return
        amplitude = self.ranges[node.output[0]]
        tensors, norms = self._until_norms(node.output[0])
        if amplitude * self.options.safety <= LARGEST or not norms:
            return
        factor = 2.0 ** -np.ceil(np.log2(amplitude * self.options.safety / LARGEST))
        if self.ranges[node.input[1]] * factor < SMALLEST_NORMAL:
            return
        for k in range(1, len(node.input)):
            if node.input[k]:
                values = numpy_helper.to_array(self.weights[node.input[k]])
                plan.weights[i, k] = values * np.float32(factor)
        for j in norms:
            plan.epsilons[j] = epsilon(self.nodes[j]) * factor**2
        for name in tensors:
            self.ranges[name] *= factor
        plan.rescaled.append(Rescaled(node_name(node), node.output[0], amplitude, factor))

    def _until_norms(self, tensor: str) -> tuple[list[str], list[int]]:
        """Follow `tensor` through reshapes; return all its tensors and the normalizations that they end in.

        Both are empty if anything else reads the tensor.
        """
        tensors, norms = [tensor], []
        for name in tensors:
            users = self.users.get(name, [])
            if name in self.outputs or not users:
                return [], []
            for i in users:
                node = self.nodes[i]
                if list(node.input).count(name) != 1 or node.input[0] != name:
                    return [], []
                if node.op_type in NORMS and len(node.output) == 1:
                    norms.append(i)
                elif node.op_type in RESHAPES:
                    tensors.extend(node.output)
                else:
                    return [], []
        return tensors, norms


def epsilon(node: onnx.NodeProto) -> float:
    """Return a normalization's epsilon."""
    return float(attributes_of(node).get("epsilon", DEFAULT_EPSILON))


def _rounding(amplitude: float) -> float:
    """Return the largest error of rounding numbers up to `amplitude` to float16."""
    return float(2.0 ** (np.floor(np.log2(amplitude)) - DIGITS)) if amplitude else 0.0


def _takes_half(formal: defs.OpSchema.FormalParameter) -> bool:
    return "tensor(float16)" in formal.types


def _largest(tensor: onnx.TensorProto) -> float:
    values = numpy_helper.to_array(tensor)
    return float(max(-values.min(), values.max())) if values.size else 0.0
