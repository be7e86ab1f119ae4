"""Rewrite an ONNX graph with its normalizations in float64, as a truth to compare with.

ONNX Runtime's InstanceNormalization sums in float32: over the million numbers of a full-size group it is 1e-5
off, where the interpreter of Core ML's programs is 1e-7 off. Every other operator stays as it is.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def with_exact_norms(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy whose InstanceNormalization nodes are arithmetic in float64: (x - m) / sqrt(v + ε) w + b.

    m and v are the mean and the variance over all but the first two dimensions of x (ONNX's definition).
    """
    made = onnx.ModelProto()
    made.CopyFrom(model)
    nodes = list[onnx.NodeProto]()
    for node in model.graph.node:
        nodes += _in_float64(node) if node.op_type == "InstanceNormalization" else [node]
    del made.graph.node[:]
    made.graph.node.extend(nodes)
    constants = {"flat": np.array([0, 0, -1]), "last": np.array([2]), "column": np.array([1])}
    made.graph.initializer.extend(
        numpy_helper.from_array(value, _name("", key)) for key, value in constants.items()
    )
    return made


def _name(node: str, part: str) -> str:
    return f"exact_norm/{node}/{part}"


def _in_float64(node: onnx.NodeProto) -> list[onnx.NodeProto]:
    def name(part: str) -> str:
        return _name(node.output[0], part)

    def make(operator: str, inputs: list[str], output: str, **attributes: object) -> onnx.NodeProto:
        return helper.make_node(operator, inputs, [output], **attributes)

    x, scale, bias = node.input
    epsilon = next((a.f for a in node.attribute if a.name == "epsilon"), 1e-5)
    double = {"to": TensorProto.DOUBLE}
    weights = []
    for part, source in (("scale", scale), ("bias", bias)):
        weights.append(make("Cast", [source], name(f"{part}64"), **double))
        weights.append(make("Unsqueeze", [name(f"{part}64"), _name("", "column")], name(part)))
    return [
        *weights,
        make("Shape", [x], name("shape")),
        make("Cast", [x], name("x64"), **double),
        make("Reshape", [name("x64"), _name("", "flat")], name("x")),
        make("ReduceMean", [name("x"), _name("", "last")], name("mean")),
        make("Sub", [name("x"), name("mean")], name("centred")),
        make("Mul", [name("centred"), name("centred")], name("squares")),
        make("ReduceMean", [name("squares"), _name("", "last")], name("variance")),
        make(
            "Constant", [], name("epsilon"), value=helper.make_tensor("e", TensorProto.DOUBLE, [], [epsilon])
        ),
        make("Add", [name("variance"), name("epsilon")], name("safe")),
        make("Sqrt", [name("safe")], name("deviation")),
        make("Div", [name("centred"), name("deviation")], name("normal")),
        make("Mul", [name("normal"), name("scale")], name("scaled")),
        make("Add", [name("scaled"), name("bias")], name("y64")),
        make("Reshape", [name("y64"), name("shape")], name("shaped")),
        make("Cast", [name("shaped")], node.output[0], to=TensorProto.FLOAT),
    ]
