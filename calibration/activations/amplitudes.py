"""Find how large the tensors of a graph get; these amplitudes decide what can be float16."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, shape_inference

from moebius_edge.common.errors import ExportError, InvalidInput, NotFinite
from moebius_edge.common.progress import Tick
from moebius_edge.common.tensors import Array
from moebius_edge.onnx_tools.sessions import run
from moebius_edge.onnx_tools.variants import Variants

Shape = tuple[int, ...]

ZERO = "amplitudes.zero"
SMALL_BYTES = 1024  # weights up to this size may say a shape, an axis or a range


def amplitudes(
    model: onnx.ModelProto,
    inputs: Iterable[Mapping[str, Array]],
    progress: Tick | None = None,
) -> dict[str, float]:
    """Return the largest absolute value of every float32 input and intermediate tensor, over all samples.

    `model` has its weights inside. `inputs`: one mapping of graph input -> array per sample. Each sample is
    one run of the graph, with nodes added to it that compute the maxima. Raises InvalidInput without samples
    and for one with missing or unknown inputs, and NotFinite, naming the first tensor, for NaN or Inf.
    """
    samples = list(inputs)
    if not samples:
        raise InvalidInput("there are no samples to take ranges from; give at least one set of inputs")
    shapes = float_tensors(model)
    weights = {tensor.name for tensor in model.graph.initializer}
    expected = {value.name for value in model.graph.input} - weights
    for sample in samples:
        if set(sample) != expected:
            raise InvalidInput(f"a sample has the inputs {sorted(sample)}; expected {sorted(expected)}")
    names = [name for name, shape in shapes.items() if np.prod(shape) > 0]
    session = _watching(model, names)
    found = dict.fromkeys(shapes, 0.0)
    for done, sample in enumerate(samples, 1):
        for name, value in zip(names, run(session, None, sample), strict=True):
            if not np.isfinite(value):
                raise NotFinite(
                    f"the tensor {name!r} of the FP32 graph has NaN or Inf for sample {done - 1}; expected "
                    "finite numbers: check the sample and the checkpoint's weights"
                )
            found[name] = max(found[name], float(value))
        if progress is not None:
            progress(done, len(samples))
    return found


def _watching(model: onnx.ModelProto, names: Sequence[str]) -> Any:
    """Open a session whose outputs are the largest magnitude in each tensor of `names`, or NaN."""
    variants = Variants(model)
    model = variants.giving([f"{name}.largest" for name in names])
    graph, watched = model.graph, frozenset(names)
    graph.initializer.append(numpy_helper.from_array(np.array(0, np.float32), ZERO))
    # Each tensor is looked at as soon as there is one: together, those of a full-size step are 20 GB.
    nodes = [each for value in graph.input if value.name in watched for each in _largest(value.name)]
    for node in graph.node:
        nodes += [node, *(each for name in node.output if name in watched for each in _largest(name))]
    del graph.node[:]
    graph.node.extend(nodes)
    return variants.session(model, in_order=True)


def _largest(name: str) -> list[onnx.NodeProto]:
    """Return nodes that compute the largest magnitude in a tensor, or NaN if it holds NaN.

    ReduceMax may pass NaN over. The sum of the tensor times zero does not, so it is added.
    """
    node = helper.make_node
    return [
        node("Abs", [name], [f"{name}.abs"]),
        node("ReduceMax", [f"{name}.abs"], [f"{name}.maximum"], keepdims=0),
        node("Mul", [name, ZERO], [f"{name}.zeros"]),
        node("ReduceSum", [f"{name}.zeros"], [f"{name}.zero"], keepdims=0),
        node("Add", [f"{name}.maximum", f"{name}.zero"], [f"{name}.largest"]),
    ]


def float_tensors(model: onnx.ModelProto) -> dict[str, Shape]:
    """Return the shapes of the float32 inputs and intermediate tensors, in the order of computation.

    Raises ExportError for a graph with control flow or functions, whose tensors are not all in one list, for
    a tensor whose type cannot be inferred, and for a shape that is not fixed.
    """
    if model.functions or any(
        attribute.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)
        for node in model.graph.node
        for attribute in node.attribute
    ):
        raise ExportError(
            f"the graph {model.graph.name!r} has control flow or functions; expected plain nodes only: "
            "inline them first"
        )
    known = {value.name: value.type.tensor_type for value in _inferred(model)}
    weights = {tensor.name for tensor in model.graph.initializer}
    names = [value.name for value in model.graph.input if value.name not in weights]
    names += [name for node in model.graph.node for name in node.output if name]
    missing = [name for name in names if name not in known]
    if missing:
        raise ExportError(
            f"the type of {missing[0]!r} and {len(missing) - 1} other tensors cannot be inferred; "
            "expected standard ONNX operators only"
        )
    floats = [name for name in names if known[name].elem_type == TensorProto.FLOAT]
    for name in floats:
        if not all(dim.HasField("dim_value") for dim in known[name].shape.dim):
            raise ExportError(f"the shape of {name!r} is not fixed; expected a graph with static shapes")
    return {name: tuple(dim.dim_value for dim in known[name].shape.dim) for name in floats}


def _inferred(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """List every value with its type, by ONNX's shape inference.

    Inference copies the model it is given, so it gets one in which large weights are inputs.
    """
    graph = model.graph
    small = [tensor for tensor in graph.initializer if weight_bytes(tensor) <= SMALL_BYTES]
    large = [
        helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        for tensor in graph.initializer
        if weight_bytes(tensor) > SMALL_BYTES
    ]
    weights = {tensor.name for tensor in graph.initializer}
    plain = [value for value in graph.input if value.name not in weights]
    light = helper.make_graph(list(graph.node), "light", plain + large, list(graph.output), small)
    inferred = shape_inference.infer_shapes(
        helper.make_model(light, opset_imports=model.opset_import, ir_version=model.ir_version),
        data_prop=True,
    ).graph
    return [*inferred.input, *inferred.value_info, *inferred.output]


def weight_bytes(tensor: onnx.TensorProto) -> int:
    """Return the size of a weight's data in bytes; 4-bit numbers lie two to a byte."""
    if tensor.data_type in (TensorProto.INT4, TensorProto.UINT4):
        return (int(np.prod(tensor.dims)) + 1) // 2
    return int(np.prod(tensor.dims)) * np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type)).itemsize
