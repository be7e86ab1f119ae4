"""What would leave the Neural Engine, and that the exporter's forms keep everything on it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import coremltools as ct
import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from moebius_edge.bundle.folder import Bundle
from moebius_edge.checkpoints.synthetic import fill_by_rule
from moebius_edge.common.errors import ExportError
from moebius_edge.export.doctor import GraphUse
from moebius_edge.export.onnx.graph import ComponentSpec, to_onnx
from moebius_edge.export.rewrites.forms import NEURAL_ENGINE, NEURAL_ENGINE_INT8, Forms, UpsampleForm
from moebius_edge.export.rewrites.local_lambda import deploy_local_lambda
from moebius_edge.export.rewrites.upsample import deploy_upsample
from moebius_edge.export.targets.coreml import package  # noqa: F401 (registers the operators)
from moebius_edge.export.targets.coreml.lowering import lower
from moebius_edge.export.targets.coreml.neural_engine import LEAVES, SLOW, examine, use
from moebius_edge.export.targets.registry import find_target
from moebius_edge.model.lambdas import LocalLambda
from moebius_edge.runtimes.mil import Program

HALF = TensorProto.FLOAT16
node = helper.make_node


def examined(
    nodes: list[onnx.NodeProto], shape: tuple[int, ...], kind: int = HALF, **weights: Any
) -> GraphUse:
    """A program of x -> y."""
    ends = [helper.make_tensor_value_info("x", kind, shape), helper.make_tensor_value_info("y", kind, None)]
    tensors = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    return use("g", Program(lower(model, ct.target.iOS17).functions["main"]))


def weight(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float16)


WEIGHT, FLAT = weight(4, 4, 3, 3), np.array([4, -1])
SCATTERED, WINDOWS = np.arange(40) * 7 % 64, (np.arange(60)[:, None] + np.arange(0, 20, 4)).reshape(-1)


@pytest.mark.parametrize(
    ("nodes", "shape", "weights", "reason"),
    [
        ([node("Gather", ["x", "i"], ["y"], axis=3)], (1, 4, 8, 64), {"i": SCATTERED}, "gather"),
        ([node("Gather", ["x", "i"], ["y"], axis=3)], (1, 4, 8, 64), {"i": np.arange(40)}, ""),
        ([node("Gather", ["x", "i"], ["y"], axis=1)], (1, 80, 64), {"i": WINDOWS}, ""),
        ([node("Conv", ["x", "w"], ["y"])], (1, 4, 32, 64), {"w": weight(4, 4, 15, 3)}, "a kernel of 15"),
        ([node("Conv", ["x", "w"], ["y"], dilations=[2, 2])], (1, 4, 64, 64), {"w": WEIGHT}, "dilated"),
        ([node("Reshape", ["x", "s"], ["y"])], (1, 4, 128, 256), {"s": FLAT}, "an axis of 32768"),
        ([node("Unsqueeze", ["x", "a"], ["y"])], (1, 4, 8, 64), {"a": np.array([0])}, "5 dimensions"),
        ([node("Relu", ["x"], ["y"])], (1, 4, 8, 64), {}, ""),
        ([node("Conv", ["x", "w"], ["y"])], (1, 4, 32, 64), {"w": weight(4, 4, 13, 3)}, ""),
    ],
)  # fmt: skip
def test_each_rule(
    nodes: list[onnx.NodeProto], shape: tuple[int, ...], weights: dict[str, Any], reason: str
) -> None:
    found = examined(nodes, shape, **weights)
    assert [fall.reason for fall in found.falls] == ([reason] if reason else [])
    assert found.partitions == (0 if reason else 1) and found.slow == ()


def test_floats_of_32_bits_leave() -> None:
    found = examined([node("Relu", ["x"], ["y"])], (1, 4, 8, 64), TensorProto.FLOAT)
    assert [fall.reason for fall in found.falls] == ["float32"]


def test_short_rows_stay_and_are_slow() -> None:
    found = examined([node("Conv", ["x", "w"], ["y"])], (1, 4, 8, 16), w=weight(2, 4, 1, 1))
    assert found.falls == () and found.taken == 1
    assert [(fall.reason, fall.macs) for fall in found.slow] == [("rows of 16", 2 * 4 * 8 * 16)]


def test_multiplications_of_a_transposed_convolution() -> None:
    found = examined([node("ConvTranspose", ["x", "w"], ["y"])], (1, 4, 8, 40), w=weight(4, 2, 4, 4))
    assert found.macs == 8 * 40 * 4 * 2 * 16


def test_multiplications_of_products() -> None:
    found = examined([node("MatMul", ["x", "w"], ["y"])], (2, 3, 5), w=weight(5, 7))
    assert found.macs == 2 * 3 * 5 * 7
    turned = [node("Transpose", ["x"], ["t"], perm=[0, 2, 1]), node("MatMul", ["t", "x"], ["y"])]
    assert examined(turned, (2, 3, 5)).macs == 2 * 5 * 3 * 5
    assert examined([turned[0], node("MatMul", ["x", "t"], ["y"])], (2, 3, 5)).macs == 2 * 3 * 5 * 3


def test_every_rule_says_where_it_is_from() -> None:
    assert all("." in rule.source and "/" in rule.source for rule in (*LEAVES, *SLOW))


def left(module: nn.Module, *shape: int) -> set[str]:
    """Why operators of a module would leave, but for their type."""
    with torch.no_grad():
        graph = to_onnx(ComponentSpec("part", module.eval(), {"x": torch.zeros(shape)}, ("y",)))
    found = use("part", Program(lower(graph, ct.target.iOS17).functions["main"]))
    return {fall.reason for fall in found.falls} - {"float32"}


@pytest.mark.parametrize(
    ("form", "reasons"),
    [
        (NEURAL_ENGINE, set()),
        (NEURAL_ENGINE_INT8, set()),
        (replace(NEURAL_ENGINE, window_up_to=0), {"a kernel of 15"}),
    ],
)
def test_the_exporter_uses_the_position_lambdas_that_stay(form: Forms, reasons: set[str]) -> None:
    source = LocalLambda(16, 4, 15)
    fill_by_rule(source)
    one = torch.ones(16)
    assert left(deploy_local_lambda(source.eval(), 16, one, one, form), 1, 256, 16) == reasons


@pytest.mark.parametrize("form", [NEURAL_ENGINE.upsample, NEURAL_ENGINE_INT8.upsample, "transposed"])
def test_the_exporter_uses_upsamplers_that_stay(form: UpsampleForm) -> None:
    conv = nn.Conv2d(4, 4, 3, padding=1)
    fill_by_rule(conv)
    assert left(deploy_upsample(conv, form), 1, 4, 16, 16) == set()


def test_these_forms_are_those_of_the_target() -> None:
    assert find_target("coreml").forms == NEURAL_ENGINE
    assert find_target("coreml").quantized_forms == NEURAL_ENGINE_INT8


def test_bundles_of_other_targets_are_refused(make_bundle: Any, tmp_path: Path) -> None:
    bundle: Bundle = make_bundle()
    with pytest.raises(ExportError, match="exported for ort; this examines bundles of --target coreml"):
        examine(bundle)
