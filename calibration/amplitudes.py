"""How large the tensors of a graph get: the ranges that decide what can be float16."""

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, shape_inference

from moebius_edge.calibration.collect import session_options
from moebius_edge.errors import ExportError, InvalidInput, NotFinite
from moebius_edge.tensors import Array

Progress = Callable[[int, int], None]  # graph runs done, of how many
Shape = tuple[int, ...]

MEMORY = 1 << 30  # bytes of tensors that are looked at in one run
FLOAT_BYTES = 4
SMALL_BYTES = 1024  # weights up to this size may say a shape, an axis or a range


def amplitudes(
    model: onnx.ModelProto,
    inputs: Iterable[Mapping[str, Array]],
    *,
    memory: int = MEMORY,
    progress: Progress | None = None,
) -> dict[str, float]:
    """Largest absolute value of every float32 input and intermediate tensor of `model` over the samples.

    `model` has its weights inside. `inputs`: one mapping of graph input -> array per sample. The graph runs
    once per sample and per group of tensors of at most `memory` bytes together (a larger tensor is a group of
    its own). Raises InvalidInput without samples, NotFinite, naming the first tensor, for NaN or Inf.
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
    fed = [name for name in expected if name in shapes]
    found = {name: max(_amplitude(name, sample[name], i) for i, sample in enumerate(samples)) for name in fed}
    groups = list(_groups({name: shape for name, shape in shapes.items() if name not in found}, memory))
    with tempfile.TemporaryDirectory() as folder:
        skeleton = _externalised(model, Path(folder))
        for done, group in enumerate(groups):
            session = _session(skeleton, group, Path(folder))
            for i, sample in enumerate(samples):
                for name, value in zip(group, session.run(group, dict(sample)), strict=True):
                    found[name] = max(found.get(name, 0.0), _amplitude(name, value, i))
                if progress is not None:
                    progress(done * len(samples) + i + 1, len(groups) * len(samples))
            del session
    return found


def float_tensors(model: onnx.ModelProto) -> dict[str, Shape]:
    """Shapes of the float32 inputs and intermediate tensors, in the order in which they are computed.

    Raises ExportError for a graph with control flow or functions, whose tensors are not all in one list.
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
    return {
        name: tuple(dim.dim_value for dim in known[name].shape.dim)
        for name in names
        if known[name].elem_type == TensorProto.FLOAT
    }


def _inferred(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """Every typed value, from a copy in which large weights are inputs: inference copies what it is given."""
    graph = model.graph
    small = [tensor for tensor in graph.initializer if tensor_bytes(tensor) <= SMALL_BYTES]
    large = [
        helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        for tensor in graph.initializer
        if tensor_bytes(tensor) > SMALL_BYTES
    ]
    weights = {tensor.name for tensor in graph.initializer}
    plain = [value for value in graph.input if value.name not in weights]
    light = helper.make_graph(list(graph.node), "light", plain + large, list(graph.output), small)
    inferred = shape_inference.infer_shapes(
        helper.make_model(light, opset_imports=model.opset_import, ir_version=model.ir_version),
        data_prop=True,
    ).graph
    return [*inferred.input, *inferred.value_info, *inferred.output]


def tensor_bytes(tensor: onnx.TensorProto) -> int:
    """Size of the data of a weight; 4-bit numbers lie two to a byte."""
    if tensor.data_type in (TensorProto.INT4, TensorProto.UINT4):
        return (int(np.prod(tensor.dims)) + 1) // 2
    return int(np.prod(tensor.dims)) * np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type)).itemsize


def _groups(shapes: Mapping[str, Shape], memory: int) -> Iterator[list[str]]:
    """Neighbouring tensors of at most `memory` bytes together."""
    group: list[str] = []
    size = 0
    for name, shape in shapes.items():
        more = int(np.prod(shape)) * FLOAT_BYTES
        if group and size + more > memory:
            yield group
            group, size = [], 0
        group.append(name)
        size += more
    if group:
        yield group


def _externalised(model: onnx.ModelProto, folder: Path) -> onnx.ModelProto:
    """A copy whose large weights are in a file of `folder`: written once, mapped by every session."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    onnx.save_model(
        copy, folder / "all.onnx", save_as_external_data=True, location="weights", size_threshold=SMALL_BYTES
    )
    return copy


def _session(model: onnx.ModelProto, names: list[str], folder: Path) -> ort.InferenceSession:
    """A session whose outputs are the tensors `names`; `model` is changed."""
    del model.graph.output[:]
    model.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    path = folder / "group.onnx"
    path.write_bytes(model.SerializeToString())
    options = session_options()  # its memory has no pattern of one large block, which would hold all of them
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC  # no fusions
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _amplitude(name: str, value: Array, sample: int) -> float:
    # Minimum and maximum carry NaN and Inf along and need no copy of the tensor.
    largest = float(max(-value.min(), value.max())) if value.size else 0.0
    if not np.isfinite(largest):
        raise NotFinite(
            f"the tensor {name!r} of the FP32 graph has NaN or Inf for sample {sample}; expected finite "
            "numbers: check the sample and the checkpoint's weights"
        )
    return largest
