"""Export one PyTorch module as one clean ONNX graph: opset 18, static shapes, the same bytes every time."""

import hashlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import onnx
import onnxsim
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from moebius_edge.common.errors import ExportError
from moebius_edge.common.silence import silenced

OPSET = 18
IR_VERSION = 10  # the newest that ONNX Runtime 1.20 reads


@dataclass(frozen=True)
class ComponentSpec:
    """The module, example inputs and names that one graph is exported from."""

    name: str  # "encoder", "denoiser", "decoder"
    module: nn.Module
    inputs: dict[str, Tensor]  # examples, in the order of forward's arguments
    outputs: tuple[str, ...]


def to_onnx(spec: ComponentSpec, *, simplify: bool = True) -> onnx.ModelProto:
    """Export through torch's graph capture and clean the result; weights are inside the returned model.

    `simplify` folds constants and joins MatMul and Add with onnxsim. Raises ExportError when onnxsim's own
    comparison of the two graphs fails.
    """
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            spec.module,
            tuple(spec.inputs.values()),
            dynamo=True,
            opset_version=OPSET,
            input_names=list(spec.inputs),
            output_names=list(spec.outputs),
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    if simplify:
        model, fine = onnxsim.simplify(model)
        if not fine:
            raise ExportError(f"onnxsim changed the function of {spec.name}; export with --graph direct")
    strip(model)
    share_initializers(model)
    onnx.checker.check_model(model)
    copy = onnx.ModelProto()  # a message keeps the memory of what was taken out of it; its copy does not
    copy.CopyFrom(model)
    return copy


def strip(model: onnx.ModelProto) -> None:
    """Remove everything that describes the export's machine and code and not the function."""
    model.ir_version = min(model.ir_version, IR_VERSION)
    model.producer_name, model.producer_version, model.doc_string = "moebius-edge", "", ""
    del model.metadata_props[:]
    graph = model.graph
    graph.name, graph.doc_string = "moebius", ""
    del graph.value_info[:]
    del graph.metadata_props[:]
    for item in (*graph.node, *graph.initializer, *graph.input, *graph.output):
        item.doc_string = ""
        del item.metadata_props[:]


def share_initializers(model: onnx.ModelProto) -> None:
    """Keep one of each group of equal initializers, and none that is not used."""
    graph = model.graph
    first: dict[tuple[int, tuple[int, ...], str], str] = {}
    renamed: dict[str, str] = {}
    for tensor in graph.initializer:
        content = hashlib.sha256(numpy_helper.to_array(tensor).tobytes()).hexdigest()
        key = (tensor.data_type, tuple(tensor.dims), content)
        renamed[tensor.name] = first.setdefault(key, tensor.name)
    for node in graph.node:
        for i, name in enumerate(node.input):
            node.input[i] = renamed.get(name, name)
    used = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's reports of optional packages it did not find, and deprecations inside torch."""
    with silenced("torch.onnx"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
