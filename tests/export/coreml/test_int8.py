"""INT8 as Core ML gets it, operator by operator against ONNX Runtime on the same graph, optimizations off."""

from collections import defaultdict
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper

from moebius_edge.calibration.data import Followed
from moebius_edge.calibration.qdq import STYLES, quantize
from moebius_edge.calibration.recording import Recording
from moebius_edge.export.coreml.lowering import identifier
from moebius_edge.export.coreml.package import save, to_program
from moebius_edge.runtimes.mil import Program
from moebius_edge.tensors import Array
from tests.export.conftest import Models

# Operators whose float sums have another order here; how far that moves a result, relative to its largest.
SUMS = {"conv", "linear", "matmul", "instance_norm", "layer_norm", "softmax", "reduce_mean"}
CLOSE = 2e-6


@pytest.fixture(scope="module")
def quantized(first: Models, recording: Recording) -> onnx.ModelProto:
    """The denoiser, channels first, in the form that Core ML gets."""
    denoiser = first["denoiser"]
    return quantize(denoiser, recording.ranges(denoiser, "mse"), STYLES["coreml"])


def everything(model: onnx.ModelProto, feed: dict[str, Array]) -> dict[str, Array]:
    """What every node gives, by the name that its operator has in MIL."""
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    inferred = {value.name: value for value in onnx.shape_inference.infer_shapes(model).graph.value_info}
    del watched.graph.output[:]
    for node in model.graph.node:
        kind = TensorProto.INT8 if node.op_type == "QuantizeLinear" else TensorProto.FLOAT
        for name in node.output:
            known = inferred.get(name)
            watched.graph.output.append(known or helper.make_tensor_value_info(name, kind, None))
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(watched.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return {identifier(name): value for name, value in zip(names, session.run(None, feed), strict=True)}


def test_each_operator_differs_by_the_order_of_its_sums_alone(
    quantized: onnx.ModelProto, seen: Followed, tmp_path: Path
) -> None:
    """Every operator gets what ONNX Runtime's got: what is left is its own difference.

    Integers have lost their names in the package. One that is a step off would move the sums that read it
    by a thousand times more than is allowed, so a whole run differs only where a sum lies between steps.
    """
    feed = dict(seen.samples["denoiser"][0])
    truth = everything(quantized, feed)
    program = to_program(quantized)
    save(program.get_spec(), Path(program.weights_dir), tmp_path / "denoiser.mlpackage")
    worst: dict[str, float] = defaultdict(float)

    def force(operator: str, name: str, value: torch.Tensor) -> torch.Tensor:
        exact = truth.get(name)
        if exact is None or exact.size != value.numel():
            return value
        expected = torch.from_numpy(np.array(exact)).reshape(value.shape)
        error = (value.double() - expected.double()).abs().max()
        worst[operator] = max(worst[operator], float(error / expected.double().abs().max().clamp(min=1e-30)))
        return expected.to(value.dtype)

    saved = Program.read(tmp_path / "denoiser.mlpackage")
    saved.run(feed, force)
    quantized_values = sum(operation.op_type == "quantize" for operation in saved.operations)
    assert quantized_values == sum(node.op_type == "QuantizeLinear" for node in quantized.graph.node) > 60
    assert {"conv", "linear", "matmul"} <= worst.keys()
    assert max(worst[name] for name in worst.keys() & SUMS) < CLOSE
    assert max(worst[name] for name in worst.keys() - SUMS) < 3e-7  # one function of one number
