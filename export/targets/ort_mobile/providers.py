"""Tell what the mobile execution providers of ONNX Runtime accept, as data, each with its source.

A provider that does not take a node leaves it to the CPU. The rules are the published ones: a device may
refuse more, so the counts made from them are upper bounds.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Node:
    """What the rules may ask about a node."""

    operator: str  # "Conv", "com.microsoft:FusedConv"
    attributes: Mapping[str, Any]
    shapes: tuple[Shape | None, ...]  # of the inputs; None: unknown, or the input is left out
    types: tuple[str, ...]  # of the inputs: "float32", "float16", "int8", ...; "" where left out
    constant: tuple[bool, ...]  # whether each input is a weight
    producer: str  # the operator whose output is input 0, when the provider took it, else ""


Rule = Callable[[Node], str]  # what is wrong, or ""


@dataclass(frozen=True)
class Provider:
    """One row of the table of execution providers."""

    name: str
    runs_on: str
    source: str  # where its rules are published
    rules: Mapping[str, tuple[Rule, ...]]  # operator -> all must be content
    max_rank: int | None = None  # of any input

    def refuses(self, node: Node) -> str:
        """Say why this provider leaves the node to the CPU; "" when it takes it."""
        if node.operator not in self.rules:
            return "not on its list"
        ranks = [len(shape) for shape in node.shapes if shape is not None]
        if self.max_rank is not None and max(ranks, default=0) > self.max_rank:
            return f"an input has more than {self.max_rank} dimensions"
        return next((wrong for rule in self.rules[node.operator] if (wrong := rule(node))), "")


def constant(*inputs: int) -> Rule:
    """Demand that these inputs, where given, are weights."""

    def rule(node: Node) -> str:
        moving = [i for i in inputs if i < len(node.constant) and node.types[i] and not node.constant[i]]
        return f"input {moving[0]} is computed, not a weight" if moving else ""

    return rule


def rank(index: int, *allowed: int) -> Rule:
    """Demand that an input has one of the allowed numbers of dimensions; an unknown shape passes."""

    def rule(node: Node) -> str:
        shape = node.shapes[index] if index < len(node.shapes) else None
        return "" if shape is None or len(shape) in allowed else f"input {index} has {len(shape)} dimensions"

    return rule


def types(*allowed: str) -> Rule:
    """Demand that input 0 has one of the allowed types."""
    return lambda node: "" if node.types[0] in allowed else f"input 0 is {node.types[0] or 'left out'}"


def attribute(name: str, *allowed: Any) -> Rule:
    """Demand that an attribute, where given, has one of the allowed values."""
    return lambda node: (
        "" if node.attributes.get(name, allowed[0]) in allowed else f"{name} is {node.attributes[name]}"
    )


def inputs_at_most(count: int) -> Rule:
    """Demand that a node has at most `count` inputs."""
    return lambda node: "" if len(node.types) <= count else f"it has {len(node.types)} inputs"


def follows(*operators: str) -> Rule:
    """Demand that the node can be fused into one of these operators, taken by the same provider."""
    return lambda node: "" if node.producer in operators else f"it does not follow {' or '.join(operators)}"


def last_axis(node: Node) -> str:
    """Demand that a node works over the last axis."""
    shape, axis = node.shapes[0], node.attributes.get("axis", -1)
    return "" if shape is not None and axis in (-1, len(shape) - 1) else f"axis is {axis}, not the last"


def same_or_one_more_rank(node: Node) -> str:
    """Demand a product of A [M,K] or [batch,M,K] with B [K,N]."""
    a, b = node.shapes[0], node.shapes[1]
    if a is None or b is None:
        return "a shape is unknown"
    return "" if len(b) <= 2 and len(a) - len(b) in (0, 1) else f"it is {len(a)}-D times {len(b)}-D"


def _plain(names: str, prefix: str = "") -> dict[str, tuple[Rule, ...]]:
    return {prefix + name: () for name in names.split()}


CONV_2D = (rank(0, 4), constant(1, 2), types("float32"))
XNNPACK = Provider(
    "XNNPACK",
    "CPU of Android and iOS",
    "onnxruntime.ai, XNNPACK execution provider, supported ops, and IsOnnxNodeSupported of its kernels "
    "(core/providers/xnnpack in the source)",
    {
        "Conv": CONV_2D,
        "ConvTranspose": CONV_2D,
        "QLinearConv": (rank(0, 4), constant(1, 2, 3, 4, 5, 6, 7, 8), types("int8", "uint8")),
        "AveragePool": (rank(0, 4), types("float32")),
        "MaxPool": (rank(0, 4), types("float32", "int8", "uint8")),
        "Softmax": (types("float32"), last_axis),
        "Resize": (rank(0, 2, 4), attribute("mode", "linear"), constant(1, 2, 3)),
        "Gemm": (
            types("float32"),
            rank(0, 2),
            constant(1, 2),
            attribute("alpha", 1.0),
            attribute("beta", 1.0),
        ),
        "MatMul": (types("float32"), constant(1), same_or_one_more_rank),
        "Clip": (follows("Conv", "MaxPool", "AveragePool"), constant(1, 2)),
        "Relu": (follows("Conv", "MaxPool", "AveragePool"),),
    },
)

FLOAT = types("float32", "float16")
COREML = Provider(
    "CoreML",
    "CPU, GPU and Neural Engine of iOS and macOS, as ML Program",
    "coreml_supported_mlprogram_ops.md of the onnxruntime wheel; at most 5 dimensions, as its "
    "usability_checker.py has it",
    {
        **_plain(
            "Add And Argmax AveragePool Cast Clip Concat Cos Ceil Div Elu Erf Exp Gelu GlobalAveragePool "
            "GlobalMaxPool GroupNormalization HardSigmoid Identity InstanceNormalization LayerNormalization "
            "LeakyRelu MatMul MaxPool Max Mul PRelu Reciprocal ReduceSum ReduceMean ReduceMax Relu Reshape "
            "Resize Round Shape Sin Softplus Sub Sigmoid Softmax Sqrt Squeeze Tanh Tile Transpose Unsqueeze"
        ),
        **_plain("QuickGelu", "com.microsoft:"),
        "Conv": (rank(0, 3, 4), constant(2), FLOAT),
        "ConvTranspose": (constant(1, 2),),
        "DepthToSpace": (),
        "GatherND": (attribute("batch_dims", 0),),
        "Gemm": (constant(1),),
        "GridSample": (rank(0, 4),),
        "Pow": (types("float32"),),
        "Slice": (constant(1, 2, 3, 4),),
        "Split": (constant(1),),
        "Where": (),
        # The list names the activation only; a fourth input is a sum.
        "com.microsoft:FusedConv": (rank(0, 3, 4), constant(2), FLOAT, inputs_at_most(3)),
    },
    max_rank=5,
)

QNN = Provider(
    "QNN",
    "NPU (HTP) of Qualcomm chips; float models run there in FP16",
    "onnxruntime.ai, QNN execution provider, supported ONNX operators",
    {
        **_plain(
            "Abs Add And ArgMax ArgMin Asin Atan AveragePool BatchNormalization Cast Clip Concat Conv "
            "ConvTranspose Cos DepthToSpace DequantizeLinear Div Elu Equal Exp Expand Flatten Floor "
            "Gather Gelu Gemm GlobalAveragePool Greater GreaterOrEqual GridSample HardSwish "
            "InstanceNormalization LRN LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax "
            "MatMul Max MaxPool Min Mul Neg Not Or PRelu Pad Pow QuantizeLinear ReduceMax ReduceMean "
            "ReduceMin ReduceProd ReduceSum Relu Reshape Resize Round Sigmoid Sign Sin Slice Softmax "
            "SpaceToDepth Split Sqrt Squeeze Sub Tanh Tile TopK Transpose Unsqueeze Where"
        ),
        **_plain("DequantizeLinear Gelu QuantizeLinear", "com.microsoft:"),
        "LpNormalization": (attribute("p", 2),),
    },
)

PROVIDERS = (XNNPACK, COREML, QNN)
