"""Which nodes an execution provider takes, in how many pieces: by hand, and against the wheel's checker."""

import copy
import json
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.tools.mobile_helpers import usability_checker

from moebius_edge.common.errors import ExportError
from moebius_edge.export.doctor import partitions
from moebius_edge.export.targets.ort_mobile.providers import COREML, PROVIDERS, QNN, XNNPACK, Provider
from moebius_edge.export.targets.ort_mobile.target import convert
from moebius_edge.export.targets.ort_mobile.usability import load, use
from moebius_edge.onnx_tools.external_data import save
from moebius_edge.onnx_tools.macs import count_macs

MLPROGRAM = "coreml_supported_mlprogram_ops.md"


@pytest.fixture(scope="module")
def denoiser(deployed: onnx.ModelProto, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A denoiser as .onnx; the .ort file is beside it."""
    path = tmp_path_factory.mktemp("usability") / "denoiser.onnx"
    save(copy.deepcopy(deployed), path)
    convert(path, path.with_suffix(".ort"))
    return path


def chain(*operators: str) -> onnx.ModelProto:
    nodes = [helper.make_node(name, [f"v{i}"], [f"v{i + 1}"]) for i, name in enumerate(operators)]
    ends = [helper.make_tensor_value_info(f"v{i}", TensorProto.FLOAT, [1, 2]) for i in (0, len(operators))]
    return helper.make_model(helper.make_graph(nodes, "chain", ends[:1], ends[1:]))


def links(model: onnx.ModelProto) -> list[tuple[Any, Any]]:
    return [(node.input, node.output) for node in model.graph.node]


def test_pieces_of_a_chain() -> None:
    model = chain("Relu", "Erf", "Relu", "Relu", "Erf", "Erf", "Relu")
    taken = [node.op_type == "Relu" for node in model.graph.node]
    assert partitions(links(model), taken) == 3
    assert partitions(links(model), [True] * 7) == 1
    assert partitions(links(model), [False] * 7) == 0


def test_branches_that_can_wait_for_each_other_are_one_piece() -> None:
    node = helper.make_node
    nodes = [
        node("Relu", ["x"], ["a"]),
        node("Erf", ["x"], ["b"]),  # needs nothing that was taken: it runs first
        node("Relu", ["b"], ["c"]),
        node("Add", ["a", "c"], ["d"]),
        node("Erf", ["d"], ["e"]),
        node("Add", ["e", "a"], ["f"]),
    ]
    model = helper.make_model(helper.make_graph(nodes, "g", [], []))
    assert partitions(links(model), [True, False, True, True, False, True]) == 2


def test_shapes_are_known_behind_an_operator_that_onnx_does_not_know(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("QuickGelu", ["x"], ["a"], domain="com.microsoft", alpha=1.0),
        helper.make_node("MatMul", ["a", "w"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [5, 4]) for name in ("x", "y")]
    weight = numpy_helper.from_array(np.zeros((4, 4), np.float32), "w")
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], [weight])
    onnx.save(helper.make_model(graph, opset_imports=opsets), tmp_path / "g.onnx")
    found = use("g", load(tmp_path / "g.onnx"), XNNPACK)
    assert (found.macs, found.macs_taken, found.taken) == (5 * 4 * 4, 5 * 4 * 4, 1)
    assert [fall.operator for fall in found.falls] == ["com.microsoft:QuickGelu"]


def test_the_rules_of_coreml_are_the_wheels() -> None:
    folder = resources.files("onnxruntime.tools.mobile_helpers")
    rows = [line.split("|") for line in folder.joinpath(MLPROGRAM).read_text().splitlines()]
    listed = {row[1].removeprefix("ai.onnx:") for row in rows if len(row) == 4 and ":" in row[1]}
    assert set(COREML.rules) == listed


@pytest.mark.parametrize("suffix", [".onnx", ".ort"])
def test_coreml_pieces_are_those_of_the_wheels_checker(denoiser: Path, suffix: str) -> None:
    model = load(denoiser.with_suffix(suffix))
    wheel = usability_checker.check_coreml_partitions(copy.deepcopy(model), True, MLPROGRAM)
    only_list = Provider("list", "", "", dict.fromkeys(COREML.rules, ()), COREML.max_rank)
    mine = use("denoiser", model, only_list)
    assert (mine.partitions, mine.taken) == (wheel.num_partitions, wheel.num_supported_nodes)
    assert mine.partitions > 1
    refused = {fall.operator for fall in mine.falls if fall.reason == "not on its list"}
    assert refused == {name.removeprefix("ai.onnx:") for name in wheel.unsupported_ops}


def test_fusing_for_the_cpu_costs_the_providers(denoiser: Path) -> None:
    plain, fused = load(denoiser), load(denoiser.with_suffix(".ort"))
    for provider in PROVIDERS:
        before, after = (use("denoiser", model, provider) for model in (plain, fused))
        assert before.macs == after.macs == count_macs(plain)
        assert after.share < before.share
        for found in (before, after):
            assert found.taken + sum(fall.nodes for fall in found.falls) == found.nodes
            assert found.macs_taken + sum(fall.macs for fall in found.falls) == found.macs
            assert [fall.macs for fall in found.falls] == sorted((f.macs for f in found.falls), reverse=True)
    assert use("denoiser", plain, QNN).taken == len(plain.graph.node)


def reasons(provider: Provider, node: onnx.NodeProto, kind: int = TensorProto.FLOAT) -> list[str]:
    """What a provider says about one node that follows a convolution of x [1,4,8,8]."""
    weights = {
        "w": np.zeros((4, 4, 3, 3), np.float32),
        "m": np.zeros((8, 8), np.float32),
        "n": np.ones(1, np.int64),
    }
    first = helper.make_node("Conv", ["x", "w"], ["c"], pads=[1] * 4)
    infos = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 8, 8]),
        helper.make_tensor_value_info("c", kind, [1, 4, 8, 8]),
        helper.make_tensor_value_info("s", TensorProto.FLOAT, [8, 8]),
        helper.make_tensor_value_info("big", TensorProto.FLOAT, [1, 1, 1, 1, 8, 8]),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 8, 8]),
    ]
    tensors = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph([first, node], "g", infos[:1], infos[-1:], tensors, value_info=infos[1:-1])
    found = use("g", helper.make_model(graph), provider)
    return [f"{fall.operator}: {fall.reason}" for fall in found.falls]


@pytest.mark.parametrize(
    ("provider", "operator", "inputs", "attributes", "expected"),
    [
        (XNNPACK, "Conv", ["c", "w"], {}, []),
        (XNNPACK, "Conv", ["c", "x"], {}, ["Conv: input 1 is computed, not a weight"]),
        (XNNPACK, "Relu", ["c"], {}, []),
        (XNNPACK, "Relu", ["x"], {}, ["Relu: it does not follow Conv or MaxPool or AveragePool"]),
        (XNNPACK, "MatMul", ["s", "m"], {}, []),
        (XNNPACK, "MatMul", ["c", "m"], {}, ["MatMul: it is 4-D times 2-D"]),
        (XNNPACK, "MatMul", ["s", "s"], {}, ["MatMul: input 1 is computed, not a weight"]),
        (XNNPACK, "Softmax", ["s"], {"axis": -1}, []),
        (XNNPACK, "Softmax", ["c"], {"axis": 1}, ["Softmax: axis is 1, not the last"]),
        (XNNPACK, "Gemm", ["s", "m"], {"alpha": 2.0}, ["Gemm: alpha is 2.0"]),
        (COREML, "Add", ["c", "x"], {}, []),
        (COREML, "Pad", ["c", "n"], {}, ["Pad: not on its list"]),
        (COREML, "Transpose", ["big"], {}, ["Transpose: an input has more than 5 dimensions"]),
        (COREML, "Slice", ["c", "n", "n"], {}, []),
        (QNN, "Pad", ["c", "n"], {}, []),
        (QNN, "Einsum", ["c", "x"], {"equation": "abcd,abcd->abcd"}, ["Einsum: not on its list"]),
    ],
)
def test_rules_one_by_one(
    provider: Provider, operator: str, inputs: list[str], attributes: dict[str, object], expected: list[str]
) -> None:
    assert reasons(provider, helper.make_node(operator, inputs, ["y"], **attributes)) == expected


def test_types_are_looked_at() -> None:
    node = helper.make_node("Conv", ["c", "w"], ["y"], pads=[1] * 4)
    assert reasons(XNNPACK, node, TensorProto.FLOAT16) == ["Conv: input 0 is float16"]
    assert reasons(COREML, node, TensorProto.FLOAT16) == []


def test_files_that_are_no_graphs(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"\xff" * 9)
    with pytest.raises(ExportError, match=r"x.onnx is not a whole .onnx file"):
        load(tmp_path / "x.onnx")
    with pytest.raises(ExportError, match=r"engine.plan is no .ort or .onnx file"):
        load(tmp_path / "engine.plan")


def test_every_provider_names_its_source() -> None:
    assert all(provider.source and provider.runs_on for provider in PROVIDERS)
    assert json.dumps([provider.name for provider in PROVIDERS]) == '["XNNPACK", "CoreML", "QNN"]'
