"""Finished ONNX graphs -> .ort files: the same numbers, the same bytes, the operators of a reduced build."""

import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from moebius_edge.bundle.folder import Bundle
from moebius_edge.bundle.manifest import GRAPH_NAMES, GraphSpec
from moebius_edge.calibration.activations.recording import Recording
from moebius_edge.checking.verify import compare
from moebius_edge.checkpoints.checkpoint import Checkpoint
from moebius_edge.common.errors import ExportError
from moebius_edge.common.machine import sums_overflow
from moebius_edge.common.tensors import Array
from moebius_edge.export.build import export_bundle
from moebius_edge.export.options import ExportOptions
from moebius_edge.export.targets.ort_mobile.ort_format import make_deterministic, structure
from moebius_edge.export.targets.ort_mobile.target import (
    CONFIG,
    FIXED,
    RUNTIME,
    convert,
    required_operators,
    ship,
    style_of,
)
from moebius_edge.onnx_tools.macs import count_macs
from moebius_edge.precisions import PRECISIONS
from moebius_edge.runtimes import open_runtime
from tests.export.conftest import graph_inputs, operators
from tests.kept import QUICK

HALF, SINGLE = ExportOptions("ort-mobile", "fp16"), ExportOptions("ort-mobile")
PICTURE = np.random.default_rng(0).standard_normal((1, 4, 16, 16)).astype(np.float32)


@pytest.fixture(scope="module")
def bundles(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    """The tiny checkpoint for ONNX Runtime and for ONNX Runtime Mobile."""
    folder = tmp_path_factory.mktemp("mobile")
    return {
        target: export_bundle(checkpoint, folder / target, ExportOptions(target=target))
        for target in ("ort", "ort-mobile")
    }


def save(path: Path, nodes: list[onnx.NodeProto], weights: dict[str, Array]) -> Path:
    """A graph from x [1,4,16,16] to y [1,8,16,16]."""
    infos = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, channels, 16, 16])
        for name, channels in (("x", 4), ("y", 8))
    ]
    tensors = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "g", infos[:1], infos[1:], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


def run(path: Path, replay: bool = False) -> Array:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.add_session_config_entry("session.enable_saved_runtime_optimizations", str(int(replay)))
    found: Array = ort.InferenceSession(path, options).run(["y"], {"x": PICTURE})[0]
    return found


def half_precision(path: Path) -> Path:
    """FP16 inside, FP32 outside: convolution, ReLU, normalization, matrix product."""
    rng = np.random.default_rng(1)
    weights = {
        "w": rng.standard_normal((8, 4, 3, 3)) / 6,
        "b": np.zeros(8),
        "m": rng.standard_normal((16, 16)),
    }
    node = helper.make_node
    nodes = [
        node("Cast", ["x"], ["x16"], to=TensorProto.FLOAT16),
        node("Conv", ["x16", "w", "b"], ["c"], pads=[1] * 4),
        node("Relu", ["c"], ["r"]),
        node("MatMul", ["r", "m"], ["y16"]),
        node("Cast", ["y16"], ["y"], to=TensorProto.FLOAT),
    ]
    return save(path, nodes, {name: value.astype(np.float16) for name, value in weights.items()})


def quantized(path: Path) -> Path:
    """QDQ with signed 8-bit activations and per-channel weights: convolution, then a matrix product."""
    rng = np.random.default_rng(2)
    zero, node = np.array(0, np.int8), helper.make_node
    weights = {
        "s": np.array(0.03, np.float32),
        "z": zero,
        "w": rng.integers(-127, 128, (8, 4, 3, 3)).astype(np.int8),
        "ws": np.full(8, 0.004, np.float32),
        "wz": np.zeros(8, np.int8),
        "b": np.zeros(8, np.int32),
        "bs": np.full(8, 0.03 * 0.004, np.float32),
        "bz": np.zeros(8, np.int32),
        "m": rng.integers(-127, 128, (16, 16)).astype(np.int8),
        "ms": np.array(0.002, np.float32),
    }
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], ["xq"]),
        node("DequantizeLinear", ["xq", "s", "z"], ["xd"]),
        node("DequantizeLinear", ["w", "ws", "wz"], ["wd"], axis=0),
        node("DequantizeLinear", ["b", "bs", "bz"], ["bd"], axis=0),
        node("Conv", ["xd", "wd", "bd"], ["c"], pads=[1] * 4),
        node("QuantizeLinear", ["c", "s", "z"], ["cq"]),
        node("DequantizeLinear", ["cq", "s", "z"], ["cd"]),
        node("DequantizeLinear", ["m", "ms", "z"], ["md"]),
        node("MatMul", ["cd", "md"], ["mm"]),
        node("QuantizeLinear", ["mm", "s", "z"], ["mq"]),
        node("DequantizeLinear", ["mq", "s", "z"], ["y"]),
    ]
    return save(path, nodes, weights)


def test_the_bundle_has_ort_files_and_their_operators(bundles: dict[str, Bundle]) -> None:
    mobile = bundles["ort-mobile"].manifest
    assert sorted(mobile.files) == [
        "capsule.safetensors",
        "decoder.ort",
        "denoiser.ort",
        "encoder.ort",
        CONFIG,
    ]
    assert [mobile.graphs[name].file for name in GRAPH_NAMES] == [f"{name}.ort" for name in GRAPH_NAMES]
    assert (mobile.target, mobile.runtime) == ("ort-mobile", "onnxruntime")
    assert mobile.tools["onnxruntime"] == ort.__version__
    assert "onnxruntime" not in bundles["ort"].manifest.tools


@pytest.mark.parametrize("graph", GRAPH_NAMES)
def test_ort_files_compute_what_the_onnx_files_do(bundles: dict[str, Bundle], graph: str) -> None:
    inputs = graph_inputs(bundles["ort"], graph)
    mobile = open_runtime(bundles["ort-mobile"], threads=1).run(graph, inputs)
    # Bit by bit when the engine does not use blocks of channels, which are for x86 only ...
    session = ort.InferenceSession(
        bundles["ort"].file(f"{graph}.onnx"), disabled_optimizers=["NchwcTransformer"]
    )
    for name, expected in zip(mobile, session.run(list(mobile), inputs), strict=True):
        np.testing.assert_array_equal(mobile[name], expected)
    # ... and up to the order of its sums when it does.
    for name, expected in open_runtime(bundles["ort"], threads=1).run(graph, inputs).items():
        assert np.abs(mobile[name] - expected).max() < 1e-4 * expected.std()


def test_the_operators_are_those_of_the_graphs(bundles: dict[str, Bundle]) -> None:
    mobile = bundles["ort-mobile"]
    used = {
        (node.domain or "ai.onnx", node.op_type)
        for name in GRAPH_NAMES
        for node in structure(mobile.file(f"{name}.ort")).graph.node
    }
    lines = mobile.file(CONFIG).read_text().splitlines()
    listed, typed = set(), {}
    for line in lines[1:]:
        domain, _, entries = line.split(";", 2)
        for entry in entries.replace(",", "\n").replace("{", "\n{").splitlines():
            if entry and entry[0].isalpha():
                listed.add((domain, entry))
        if "Conv{" in entries:
            typed = json.loads(entries.partition("Conv")[2])
    assert listed == used
    assert typed == {"inputs": {"0": ["float"]}}
    assert lines[0].startswith("# ") and not any("/" in line for line in lines)


def test_multiplications_of_fused_operators_are_counted(bundles: dict[str, Bundle]) -> None:
    for name, graph in bundles["ort-mobile"].manifest.graphs.items():
        model = structure(bundles["ort-mobile"].file(graph.file))
        assert "FusedConv" in operators(model)
        assert count_macs(model) == graph.macs, name


def test_the_same_graph_gives_the_same_bytes_in_every_process(
    bundles: dict[str, Bundle], tmp_path: Path
) -> None:
    source = bundles["ort"].file("denoiser.onnx")
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from moebius_edge.export.targets.ort_mobile.target import convert\n"
        "convert(Path(sys.argv[1]), Path(sys.argv[2]))"
    )
    subprocess.run([sys.executable, "-c", code, source, tmp_path / "other.ort"], check=True, timeout=120)
    shipped = bundles["ort-mobile"].file("denoiser.ort").read_bytes()
    assert (tmp_path / "other.ort").read_bytes() == shipped
    make_deterministic(tmp_path / "other.ort")
    assert (tmp_path / "other.ort").read_bytes() == shipped
    assert b"site-packages" not in shipped and str(source.parent).encode() not in shipped


def test_half_precision_weights_stay_half(tmp_path: Path) -> None:
    source = half_precision(tmp_path / "g.onnx")
    assert style_of("fp16") is RUNTIME
    expected = run(source)
    convert(source, tmp_path / "fixed.ort", FIXED.minimal)
    shipped = ship(tmp_path, {"g": GraphSpec("g.onnx", (), ())}, HALF)
    assert shipped["g"].file == "g.ort" and not source.exists()
    kinds = {
        name: {
            tensor.data_type
            for tensor in structure(tmp_path / name).graph.initializer
            if np.prod(tensor.dims) > 64
        }
        for name in ("g.ort", "fixed.ort")
    }
    assert kinds == {"g.ort": {TensorProto.FLOAT16}, "fixed.ort": {TensorProto.FLOAT}}
    # Here both compute in FP32; the .onnx file with blocks of channels, so in another order.
    np.testing.assert_allclose(run(tmp_path / "g.ort", replay=True), expected, rtol=0, atol=1e-5)


def test_saved_optimizations_may_be_replayed_or_not(tmp_path: Path) -> None:
    rng, node = np.random.default_rng(3), helper.make_node
    nodes = [node("Conv", ["x", "w"], ["c"], pads=[1] * 4), node("Relu", ["c"], ["y"])]
    weights = {"w": rng.standard_normal((8, 4, 3, 3), dtype=np.float32)}
    expected = run(save(tmp_path / "g.onnx", nodes, weights))
    ship(tmp_path, {"g": GraphSpec("g.onnx", (), ())}, HALF)
    assert [node.op_type for node in structure(tmp_path / "g.ort").graph.node] == ["Conv", "Relu"]
    for replay in (False, True):
        np.testing.assert_allclose(run(tmp_path / "g.ort", replay), expected, rtol=1e-5, atol=1e-5)
    config = (tmp_path / CONFIG).read_text()
    assert "Relu" in config and "FusedConv" in config  # what runs without and with the replay
    assert sorted(path.name for path in tmp_path.iterdir()) == ["g.ort", CONFIG]


def test_quantized_graphs_keep_signed_integers_and_run_in_them(tmp_path: Path) -> None:
    source = quantized(tmp_path / "g.onnx")
    assert style_of("int8") is FIXED
    convert(source, tmp_path / "g.ort", FIXED.minimal)
    model = structure(tmp_path / "g.ort")
    assert {"QLinearConv", "QLinearMatMul"} <= operators(model)
    kinds = {tensor.data_type for tensor in model.graph.initializer}
    assert TensorProto.INT8 in kinds and TensorProto.UINT8 not in kinds
    assert '"int8_t"' in required_operators([tmp_path / "g.ort"])
    if not sums_overflow():
        found, expected = run(tmp_path / "g.ort"), run(source)
        assert np.abs(found - expected).max() <= 0.03 * 1.0001  # one step: ties are rounded either way
        assert np.mean(found != expected) < 0.01


@pytest.mark.parametrize(
    # Close: a convolution of floats is fused with another activation here and there.
    ("precision", "stored", "closeness"),
    [
        ("fp16", TensorProto.FLOAT16, 50.0),
        ("int8", TensorProto.INT8, 30.0),
        ("w8", TensorProto.INT8, 30.0),
    ],
)
def test_small_weights_stay_small_and_give_the_same_numbers(
    checkpoint: Checkpoint,
    recording: Recording,
    tmp_path: Path,
    precision: str,
    stored: int,
    closeness: float,
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = ExportOptions(precision=precision, calibration=QUICK)
    given = recording if PRECISIONS[precision].calibrated else None
    made = {
        target: export_bundle(checkpoint, tmp_path / target, replace(options, target=target), recording=given)
        for target in ("ort", "ort-mobile")
    }
    model = structure(made["ort-mobile"].file("denoiser.ort"))
    sizes = Counter[int]()
    for tensor in model.graph.initializer:
        sizes[tensor.data_type] += int(np.prod(tensor.dims)) if len(tensor.dims) > 1 else 0
    assert sizes[stored] > 2 * sizes[TensorProto.FLOAT]
    assert count_macs(model) == made["ort-mobile"].manifest.graphs["denoiser"].macs
    inputs = graph_inputs(made["ort"], "denoiser")
    found, expected = (open_runtime(made[t]).run("denoiser", inputs)["noise"] for t in ("ort-mobile", "ort"))
    overflow = precision == "int8" and sums_overflow()
    assert compare(found, expected).db > (10.0 if overflow else closeness)
    assert ("overflow" in capsys.readouterr().err) == overflow


def test_what_cannot_be_converted_is_a_sentence(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "g.onnx").write_bytes(b"not a model")
    graph = {"g": GraphSpec("g.onnx", (), ())}
    with pytest.raises(ExportError, match=r"cannot write g.onnx as an .ort file: ") as caught:
        ship(tmp_path, graph, SINGLE)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["g.onnx"]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("data", [b"", b"ORTM", b"not an ort file", b"\x08\x00\x00\x00ORTM" + b"\xff" * 64])
def test_what_is_no_ort_file_has_no_structure(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.ort").write_bytes(data)
    with pytest.raises(ExportError, match=r"x.ort is not"):
        structure(tmp_path / "x.ort")
