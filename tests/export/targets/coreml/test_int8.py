"""INT8 as Core ML gets it, operator by operator against ONNX Runtime on the same graph, optimizations off."""

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper

from moebius_edge.calibration.activations.calibrate import GraphRuntime
from moebius_edge.calibration.activations.data import Followed
from moebius_edge.calibration.activations.recording import Recording
from moebius_edge.calibration.int8 import mixed
from moebius_edge.calibration.int8.mixed import score
from moebius_edge.calibration.int8.qdq import QDQ_STYLES, quantize
from moebius_edge.calibration.int8.sensitivity import Entry, Ledger
from moebius_edge.calibration.precisions import Conversion, convert
from moebius_edge.checking.verify import compare
from moebius_edge.common.tensors import Array
from moebius_edge.export.targets.coreml.lowering import identifier
from moebius_edge.export.targets.coreml.package import save, to_program
from moebius_edge.onnx_tools.layers import Graph, find_layers
from moebius_edge.runtimes.mil import Program
from tests.export.conftest import Models
from tests.kept import QUICK

# Operators whose float sums have another order here; how far that moves a result, relative to its largest.
SUMS = {"conv", "linear", "matmul", "instance_norm", "layer_norm", "softmax", "reduce_mean"}
CLOSE = 2e-6


@pytest.fixture(scope="module")
def quantized(first: Models, recording: Recording) -> onnx.ModelProto:
    """The denoiser, channels first, in the form that Core ML gets."""
    denoiser = first["denoiser"]
    return quantize(denoiser, recording.ranges(denoiser, "mse"), QDQ_STYLES["coreml"])


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


@pytest.mark.full
def test_mixed_precision_keeps_layers_in_float16(
    first: Models, seen: Followed, recording: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kept layers are float16 between those in INT8, in the graph and in the package, close to each other."""
    monkeypatch.setattr(mixed, "TARGETS_DB", (0.0, 60.0))  # what random weights at 4x4 latents can reach
    conversion = Conversion(
        "coreml", "mse", weights="dequantize", half=True, options=QUICK, recording=recording, seen=seen
    )
    plain = score(GraphRuntime(convert(first, "int8", conversion)[0]), seen.edits, QUICK)
    target = plain.mean_db + 6
    layers = find_layers(Graph(first["denoiser"]))
    # Any order of the layers will do here, and measuring theirs takes a minute.
    entries = [Entry(name, "Conv", False, 1, 0.1 / (i + 1)) for i, name in enumerate(layers)]
    ledger = Ledger(recording.recipe["weights_sha256"], "mse", "coreml", 4, 0.1, tuple(entries))
    models, report = convert(first, "mixed", replace(conversion, ledger=ledger, target_db=target))
    # The autoencoder is float16 as well, which the search leaves out, and which costs this tiny model much.
    searched = GraphRuntime({**first, "denoiser": models["denoiser"]})
    assert score(searched, seen.edits, QUICK).reaches(target)
    kept = report["mix"]["kept"]
    assert 0 < len(kept) < report["mix"]["layers"] == len(layers)

    denoiser = models["denoiser"]
    kinds = {tensor.name: tensor.data_type for tensor in denoiser.graph.initializer}
    for name in kept:  # no float32, and in 8 bits only where the target is still reached
        assert kinds.get(layers[name].weight, TensorProto.FLOAT16) == TensorProto.FLOAT16, name
    program = to_program(denoiser)
    save(program.get_spec(), Path(program.weights_dir), tmp_path / "denoiser.mlpackage")
    saved = Program.read(tmp_path / "denoiser.mlpackage")
    integers = sum(operation.op_type == "quantize" for operation in saved.operations)
    every = quantize(first["denoiser"], recording.ranges(first["denoiser"], "mse"), QDQ_STYLES["coreml"])
    assert 0 < integers < sum(node.op_type == "QuantizeLinear" for node in every.graph.node)
    feed = dict(seen.samples["denoiser"][0])
    exact = GraphRuntime(first).run("denoiser", feed)["noise"]
    # The interpreter rounds to float16 after each operator, ONNX Runtime only where it casts.
    assert compare(saved.run(feed)["noise"], exact).db > plain.mean_db
    assert compare(saved.run(feed)["noise"], GraphRuntime(models).run("denoiser", feed)["noise"]).db > 30
