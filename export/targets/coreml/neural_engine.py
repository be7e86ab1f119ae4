"""Find what of an ML program would likely leave Apple's Neural Engine, or run badly there.

Apple documents little of the engine, and nobody outside Apple knows all of it. The rules here are published:
they are what people found on devices, each with its source. On a device `MLComputePlan` tells the truth
(docs/coreml.md).
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from moebius_edge.bundle.folder import Bundle
from moebius_edge.bundle.manifest import GRAPH_NAMES
from moebius_edge.common.errors import ExportError
from moebius_edge.export.doctor import Fall, GraphUse, ProviderUse, Usability, partitions
from moebius_edge.export.targets.coreml.tools import builtin_to_string
from moebius_edge.runtimes.mil import Program, load, variables

Shape = tuple[int, ...]

NAME = "Neural Engine"
RUNS_ON = "iPhone, iPad and Mac with an A12, M1 or newer"
MAX_RANK = 4
MAX_AXIS = 16384
MAX_KERNEL = 13
PACKED = 32  # numbers of float16 in 64 bytes


@dataclass(frozen=True)
class Operation:
    """What the rules may ask about one operator of a program."""

    operator: str  # "conv"
    reads: tuple[str, ...]  # computed values by name
    gives: tuple[str, ...]
    shapes: tuple[Shape, ...]  # of both
    types: tuple[str, ...]  # of both: "fp16", "fp32", "int8", ...
    weight: Shape = ()  # of a convolution
    inner: int = 0  # the size of the axis that a product sums over
    dilated: bool = False

    @property
    def macs(self) -> int:
        """The multiply-accumulates of one run."""
        out = int(np.prod(self.shapes[len(self.reads)]))
        if self.operator.startswith("conv"):
            pixels = int(np.prod(self.shapes[0])) if self.operator == "conv_transpose" else out
            return pixels * int(np.prod(self.weight[1:]))
        return out * self.inner if self.operator in ("linear", "matmul") else 0


@dataclass(frozen=True)
class Rule:
    """One reason to leave the Neural Engine or to be slow there, with where it was published."""

    asks: Callable[[Operation], str]  # what is wrong, or ""
    source: str


def _floats(operation: Operation) -> str:
    return "float32" if "fp32" in operation.types else ""


def _gather(operation: Operation) -> str:
    return "gather" if operation.operator.startswith("gather") else ""


def _rank(operation: Operation) -> str:
    rank = max(len(shape) for shape in operation.shapes)
    return f"{rank} dimensions" if rank > MAX_RANK else ""


def _axis(operation: Operation) -> str:
    largest = max((size for shape in operation.shapes for size in shape), default=1)
    return f"an axis of {largest}" if largest > MAX_AXIS else ""


def _kernel(operation: Operation) -> str:
    largest = max(operation.weight[2:], default=1) if operation.operator.startswith("conv") else 1
    return f"a kernel of {largest}" if largest > MAX_KERNEL else ""


def _dilated(operation: Operation) -> str:
    return "dilated" if operation.dilated else ""


def _last_axis(operation: Operation) -> str:
    last = min((shape[-1] for shape in operation.shapes if len(shape) > 1), default=PACKED)
    return f"rows of {last}" if last < PACKED else ""


LEAVES = (  # what makes an operator leave; the first that applies is reported
    Rule(_gather, "github.com/apple/coremltools/issues/1103"),
    Rule(_kernel, "github.com/hollance/neural-engine/issues/2"),
    Rule(_dilated, "github.com/hollance/neural-engine, docs/unsupported-layers.md"),
    Rule(_axis, "github.com/ncdrone/rustane/issues/13"),
    Rule(_rank, "machinelearning.apple.com/research/neural-engine-transformers"),
    Rule(_floats, "github.com/apple/coremltools/issues/1761"),
)
# What stays, at a price: a row is padded to 64 bytes.
SLOW = (Rule(_last_axis, "machinelearning.apple.com/research/neural-engine-transformers"),)


def examine(bundle: Bundle) -> Usability:
    """Apply the rules to the packages of a bundle; nothing is run.

    Raises ExportError for a bundle of another target, and BundleError for a damaged package.
    """
    manifest = bundle.manifest
    if manifest.target != "coreml":
        raise ExportError(
            f"the bundle was exported for {manifest.target}; this examines bundles of --target coreml"
        )
    uses = tuple(use(name, load(bundle, manifest.graphs[name])) for name in GRAPH_NAMES)
    sources = "; ".join(dict.fromkeys(rule.source for rule in (*LEAVES, *SLOW)))
    row = ProviderUse(NAME, RUNS_ON, sources, uses)
    return Usability(bundle.folder.resolve().name, manifest.precision, (row,))


def use(graph: str, program: Program) -> GraphUse:
    """Apply the rules to one program; return what the Neural Engine would do with it."""
    operations = list(operations_of(program))
    wrong = [_first(LEAVES, operation) for operation in operations]
    taken = [not why for why in wrong]
    slow = [_first(SLOW, each) if stays else "" for each, stays in zip(operations, taken, strict=True)]
    macs = [operation.macs for operation in operations]
    links = [(operation.reads, operation.gives) for operation in operations]
    return GraphUse(
        graph=graph,
        nodes=len(operations),
        taken=sum(taken),
        partitions=partitions(links, taken),
        macs=sum(macs),
        macs_taken=sum(count for count, stays in zip(macs, taken, strict=True) if stays),
        falls=_counted(operations, wrong),
        slow=_counted(operations, slow),
    )


def operations_of(program: Program) -> Iterator[Operation]:
    """Yield what a program computes, in order, as the rules see it."""
    computed = set(program.main.inputs)
    for op in program.operations:
        values = [var for var in variables(op) if var.name in computed]
        computed.update(var.name for var in op.outputs)
        both = [*values, *op.outputs]
        weight, first = op.inputs.get("weight"), op.inputs.get("x")
        turned = op.op_type == "matmul" and bool(op.inputs["transpose_x"].val)
        dilations = op.inputs.get("dilations")
        yield Operation(
            op.op_type,
            tuple(var.name for var in values),
            tuple(var.name for var in op.outputs),
            tuple(tuple(int(size) for size in var.shape) for var in both),
            tuple(builtin_to_string(var.dtype) for var in both),
            tuple(int(size) for size in weight.shape) if weight is not None else (),
            int(first.shape[-2 if turned else -1]) if first is not None and first.rank > 1 else 0,
            dilations is not None and max(dilations.val) > 1,
        )


def _first(rules: Iterable[Rule], operation: Operation) -> str:
    return next((why for rule in rules if (why := rule.asks(operation))), "")


def _counted(operations: list[Operation], reasons: list[str]) -> tuple[Fall, ...]:
    """Count the operators with a reason, the heaviest first."""
    number: Counter[tuple[str, str]] = Counter()
    macs: Counter[tuple[str, str]] = Counter()
    for operation, why in zip(operations, reasons, strict=True):
        if why:
            number[operation.operator, why] += 1
            macs[operation.operator, why] += operation.macs
    order = sorted(number, key=lambda key: (-macs[key], -number[key], key))
    return tuple(Fall(*key, number[key], macs[key]) for key in order)
