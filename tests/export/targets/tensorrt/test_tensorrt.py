"""Engines are really built, by TensorRT for RTX and without a GPU; build kits, and what is refused."""

import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from moebius_edge.bundle.folder import Bundle
from moebius_edge.bundle.manifest import GRAPH_NAMES
from moebius_edge.calibration.activations.recording import Recording
from moebius_edge.checking.verify import verify
from moebius_edge.checkpoints.checkpoint import Checkpoint
from moebius_edge.checkpoints.load import load_checkpoint
from moebius_edge.common.errors import ExportError
from moebius_edge.export import build
from moebius_edge.export.build import export_bundle
from moebius_edge.export.options import ExportOptions
from moebius_edge.export.targets.registry import find_target
from moebius_edge.export.targets.tensorrt import builder, target
from moebius_edge.export.targets.tensorrt.builder import BuildError, BuildOptions, build_engine, find_tensorrt
from moebius_edge.export.targets.tensorrt.engines import import_engines
from moebius_edge.runtimes import open_runtime
from moebius_edge.runtimes import tensorrt as runtime
from tests.kept import QUICK

pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not on this system")

MAGIC = b"vtrt"  # of the engines of TensorRT for RTX
ENGINES = {*GRAPH_NAMES, "update"}


def save(path: Path, *nodes: onnx.NodeProto, **weights: Any) -> Path:
    """A graph x [2,4] -> y."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 4]) for name in ("x", "y")]
    tensors = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(list(nodes), "g", ends[:1], ends[1:], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


@pytest.fixture(scope="module")
def int8(checkpoint: Checkpoint, recording: Recording, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("tensorrt")
    options = ExportOptions(target="tensorrt", precision="int8", calibration=QUICK)
    return export_bundle(checkpoint, folder / "int8", options, recording=recording)


@pytest.fixture(scope="module")
def kit(checkpoint: Checkpoint, recording: Recording, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("kit")
    options = ExportOptions(target="tensorrt", precision="int8", calibration=QUICK)
    return export_bundle(checkpoint, folder / "kit", options, recording=recording, artifacts=False)


BLOCKED = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("numpy", "onnx", "moebius_edge", "torch"):
            raise ImportError(name + " is not on this box")
sys.meta_path.insert(0, Block())
import runpy
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def on_a_box(kit: Path, output: Path) -> subprocess.CompletedProcess[str]:
    """Run the script of a kit where there is Python and TensorRT and nothing else."""
    command = [sys.executable, "-c", BLOCKED, str(kit / "build.py"), "--output", str(output)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")


@pytest.fixture(scope="module")
def built(kit: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("box") / "engines"
    done = on_a_box(kit.folder, output)
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == sorted(f"building the {name}" for name in ENGINES)
    assert {path.name for path in output.iterdir()} == {"build.json", *(f"{name}.engine" for name in ENGINES)}
    return output


def engines_of(bundle: Bundle) -> dict[str, bytes]:
    return {name: bundle.file(f"{name}.engine").read_bytes() for name in ENGINES}


def test_int8_engines_with_float16_between(int8: Bundle) -> None:
    manifest = int8.manifest
    assert (manifest.target, manifest.runtime) == ("tensorrt", "tensorrt")
    assert manifest.settings["floats"] == "float16" and "tensorrt_rtx" in manifest.tools
    assert {name: graph.file for name, graph in manifest.graphs.items()} == {
        name: f"{name}.engine" for name in GRAPH_NAMES
    }
    assert not [name for name in manifest.files if ".onnx" in name]
    for name, engine in engines_of(int8).items():
        assert engine.startswith(MAGIC), name


@pytest.mark.full
def test_fp16_engines(checkpoint: Checkpoint, tmp_path: Path) -> None:
    options = ExportOptions(target="tensorrt", precision="fp16", calibration=QUICK)
    bundle = export_bundle(checkpoint, tmp_path / "fp16", options)
    assert all(engine.startswith(MAGIC) for engine in engines_of(bundle).values())


@pytest.mark.full
def test_six_engines_of_nano(tmp_path: Path) -> None:
    """With the interface of the manifest, which `ship` compares before it writes an engine."""
    nano = load_checkpoint("nano")
    for precision in ("fp16", "int8"):
        options = ExportOptions(target="tensorrt", precision=precision, calibration=QUICK)
        bundle = export_bundle(nano, tmp_path / precision, options)
        assert all(engine.startswith(MAGIC) for engine in engines_of(bundle).values())
        shapes = {tensor.name: tensor.shape for tensor in bundle.manifest.graphs["denoiser"].inputs}
        assert shapes["latents"] == (1, 4, 32, 32)


@pytest.mark.gpu
def test_engines_run_on_a_card(checkpoint: Checkpoint, tmp_path: Path) -> None:
    """On a card that the installed TensorRT knows; TensorRT for RTX refuses those of data centres."""
    cudart = pytest.importorskip("cuda.bindings.runtime")
    if cudart.cudaGetDeviceCount()[0] != cudart.cudaError_t.cudaSuccess:
        pytest.skip("CUDA finds no device here")
    options = ExportOptions(target="tensorrt", precision="fp16", calibration=QUICK)
    bundle = export_bundle(checkpoint, tmp_path / "fp16", options)
    report = verify(bundle, open_runtime(bundle))  # the loop on the device, too
    assert report.graphs["denoiser"].db > 35 and report.image.hole_db is not None
    assert report.image.hole_db > 30 and report.image.outside_identical


def test_an_engine_with_another_interface_is_not_written(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target, "build_engine", lambda *given: (b"vtrt", {"x": ("input", "float32", (1,))}))
    with pytest.raises(ExportError, match="the engine of the encoder has the interface"):
        export_bundle(checkpoint, tmp_path / "x", ExportOptions(target="tensorrt", precision="fp32"))
    assert not (tmp_path / "x").exists()


def test_a_kit_runs_in_onnx_runtime_and_is_what_the_engines_are_made_of(kit: Bundle) -> None:
    assert (kit.manifest.target, kit.manifest.runtime) == ("tensorrt", "onnxruntime")
    report = verify(kit, open_runtime(kit))
    assert report.graphs["denoiser"].db > 20  # a tiny model with weights by rule
    denoiser = onnx.load(kit.file("denoiser.onnx"))
    kinds = {tensor.data_type for tensor in denoiser.graph.initializer}
    assert TensorProto.INT8 in kinds and TensorProto.FLOAT16 in kinds
    zeros = {n.input[2] for n in denoiser.graph.node if n.op_type == "QuantizeLinear"}
    values = {t.name: numpy_helper.to_array(t) for t in denoiser.graph.initializer if t.name in zeros}
    assert values and all(zero.dtype == np.int8 and not zero.any() for zero in values.values())  # symmetric
    biases = [n for n in denoiser.graph.node if n.op_type == "DequantizeLinear" and "bias" in n.input[0]]
    assert not biases


def test_a_box_builds_the_same_engines_and_they_come_back(
    kit: Bundle, built: Path, int8: Bundle, tmp_path: Path
) -> None:
    bundle = import_engines(kit, built, tmp_path / "bundle")
    there, here = engines_of(bundle), engines_of(int8)
    # TensorRT lists an engine's outputs by their addresses: the encoder's two come in either order.
    assert sorted(there.pop("encoder")) == sorted(here.pop("encoder"))
    assert there == here
    assert bundle.manifest.tools["tensorrt_rtx"] == find_tensorrt().__version__
    assert bundle.manifest.graphs == int8.manifest.graphs
    assert {name for name in bundle.manifest.files if "onnx" in name or name == "build.py"} == set()


Spoil = Callable[[Path, dict[str, Any]], None]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (
            lambda folder, report: (folder / "decoder.engine").write_bytes(b"vtrt"),
            "decoder.engine is damaged",
        ),
        (lambda folder, report: (folder / "decoder.engine").unlink(), "cannot read .*decoder.engine"),
        (lambda folder, report: report["graphs"].pop("update"), "no engine of the update"),
        (lambda folder, report: report["graphs"]["encoder"]["of"].clear(), "built of other graphs"),
        (lambda folder, report: report.update(builder="gcc"), "'gcc' built"),
        # It comes back in a command that people paste.
        (lambda folder, report: report.update(version="1'; touch x; '"), "expected one like 10"),
        (lambda folder, report: report.update(version=""), "expected one like 10"),
        (lambda folder, report: report.clear(), "is not what build.py writes"),
    ],
)
def test_foreign_and_damaged_engines_are_refused(
    kit: Bundle, built: Path, tmp_path: Path, spoil: Spoil, words: str
) -> None:
    folder = tmp_path / "engines"
    folder.mkdir()
    for file in built.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    report = json.loads((folder / "build.json").read_text())
    spoil(folder, report)
    (folder / "build.json").write_text(json.dumps(report))
    with pytest.raises(ExportError, match=words):
        import_engines(kit, folder, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_a_folder_without_a_report_and_a_bundle_that_is_no_kit(
    kit: Bundle, int8: Bundle, built: Path, tmp_path: Path
) -> None:
    with pytest.raises(ExportError, match=r"cannot read .*build\.json.*run the kit's build\.py"):
        import_engines(kit, tmp_path, tmp_path / "bundle")
    with pytest.raises(ExportError, match="int8 is no build kit"):
        import_engines(int8, built, tmp_path / "bundle")
    for folder in (kit.folder, kit.folder / "bundle", built):
        with pytest.raises(ExportError, match="would replace what the bundle is made of"):
            import_engines(kit, built, folder, overwrite=True)


def copied(kit: Bundle, folder: Path) -> Path:
    return Path(shutil.copytree(kit.folder, folder))


def test_a_damaged_kit_builds_nothing(kit: Bundle, tmp_path: Path) -> None:
    folder = copied(kit, tmp_path / "kit")
    (folder / "decoder.onnx").write_bytes(b"other")
    with pytest.raises(BuildError, match=r"decoder\.onnx is damaged"):
        builder.build_kit(folder, tmp_path / "engines", None, lambda what: None)
    manifest = json.loads((folder / "manifest.json").read_text())
    for data in (b"", b"\xff", b"[]", b'{"settings": {}}', json.dumps({**manifest, "files": 3}).encode()):
        (folder / "manifest.json").write_bytes(data)
        with pytest.raises(BuildError, match=r"manifest\.json is damaged"):
            builder.build_kit(folder, tmp_path / "engines", None, lambda what: None)
    del manifest["files"]["decoder.onnx"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BuildError, match=r"decoder\.onnx is not in manifest\.json"):
        builder.build_kit(folder, tmp_path / "engines", None, lambda what: None)
    assert {path.name for path in tmp_path.iterdir()} == {"kit"}


def test_a_build_that_fails_or_is_stopped_leaves_nothing(
    kit: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*given: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(builder, "build_engine", failing)
    with pytest.raises(KeyboardInterrupt):
        builder.build_kit(kit.folder, tmp_path / "engines", None, lambda what: None)
    assert list(tmp_path.iterdir()) == []


def test_engines_go_to_a_new_folder_outside_of_the_kit(kit: Bundle, tmp_path: Path) -> None:
    done = on_a_box(kit.folder, tmp_path)
    assert done.returncode == 2 and done.stderr == f"error: {tmp_path} already exists; choose a new folder\n"
    done = on_a_box(kit.folder, kit.folder / "engines")
    assert done.returncode == 2 and "would lie in the kit" in done.stderr
    assert Bundle.open(kit.folder)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes")
def test_a_pipe_in_the_place_of_a_report_is_refused_at_once(kit: Bundle, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "build.json")
    with pytest.raises(ExportError, match="not a plain file"):
        import_engines(kit, tmp_path, tmp_path / "bundle")


def test_a_node_that_tensorrt_does_not_take_is_named(tmp_path: Path) -> None:
    path = save(tmp_path / "g.onnx", helper.make_node("Det", ["x"], ["y"], name="the_node"))
    with pytest.raises(BuildError, match=r"cannot read g\.onnx: the_node \(Det\)"):
        build_engine(find_tensorrt(), path, BuildOptions())


def test_an_engine_and_its_interface(tmp_path: Path) -> None:
    path = save(tmp_path / "g.onnx", helper.make_node("Relu", ["x"], ["y"]))
    said: list[str] = []
    engine, interface = build_engine(find_tensorrt(), path, BuildOptions(), say=said.append)
    assert engine.startswith(MAGIC) and said
    assert interface == {"x": ("input", "float32", (2, 4)), "y": ("output", "float32", (2, 4))}


def test_every_option_reaches_the_builder() -> None:
    trt = find_tensorrt()
    config = trt.Builder(trt.Logger()).create_builder_config()
    pool, flags = trt.MemoryPoolType.WORKSPACE, trt.BuilderFlag
    before = config.get_memory_pool_limit(pool)
    builder.configure(trt, config, BuildOptions())
    assert config.get_memory_pool_limit(pool) == before and config.builder_optimization_level == 3
    assert not config.get_flag(flags.TF32) and not config.get_flag(flags.VERSION_COMPATIBLE)
    given = {"workspace": "256", "optimization": "0", "compatible": "yes", "tf32": "yes", "floats": "float16"}
    builder.configure(trt, config, BuildOptions.of(given))
    assert config.get_memory_pool_limit(pool) == 256 << 20 and config.builder_optimization_level == 0
    assert config.get_flag(flags.TF32) and config.get_flag(flags.VERSION_COMPATIBLE)


def test_tensorrt_for_rtx_has_no_timing_cache(tmp_path: Path) -> None:
    path = save(tmp_path / "g.onnx", helper.make_node("Relu", ["x"], ["y"]))
    with pytest.raises(BuildError, match="leave the timing cache away"):
        build_engine(find_tensorrt(), path, BuildOptions(), tmp_path / "card.timing")


def test_the_builder_and_the_runtime_agree() -> None:
    assert (builder.PACKAGES, builder.UPDATE) == (runtime.PACKAGES, runtime.UPDATE)


def test_what_this_tensorrt_does_not_have_is_found_before_anything_is_exported(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build.graphs, "fp32_graphs", lambda *given, **named: pytest.fail("it was exported"))
    for setting, words in (
        ("compatible", "no version compatible engines"),
        ("timing_cache", "times nothing"),
    ):
        options = ExportOptions(target="tensorrt", precision="fp32", settings={setting: "yes"})
        with pytest.raises(ExportError, match=f"{words}.*--build-kit"):
            export_bundle(checkpoint, tmp_path / "x", options)
    with pytest.raises(ExportError, match="--timing-cache FILE"):
        export_bundle(checkpoint, tmp_path / "x", options, artifacts=False)
    assert list(tmp_path.iterdir()) == []


def test_a_tensorrt_that_is_too_old_or_does_not_load(monkeypatch: pytest.MonkeyPatch) -> None:
    old = SimpleNamespace(__version__="8.6", NetworkDefinitionCreationFlag=SimpleNamespace())
    monkeypatch.setattr(importlib, "import_module", lambda name: old)
    with pytest.raises(BuildError, match=r"tensorrt 8\.6 is too old: typed graphs need TensorRT 10"):
        find_tensorrt()

    def broken(name: str) -> Any:
        raise OSError("libnvinfer.so.10: cannot open shared object file")

    monkeypatch.setattr(importlib, "import_module", broken)
    with pytest.raises(BuildError, match="tensorrt is installed but does not load: libnvinfer"):
        find_tensorrt()


def test_options_that_are_none(tmp_path: Path) -> None:
    path = save(tmp_path / "g.onnx", helper.make_node("Relu", ["x"], ["y"]))
    with pytest.raises(BuildError, match=r"optimization is '9'; expected one of 3, 0, 1"):
        build_engine(find_tensorrt(), path, BuildOptions(optimization="9"))
    settings = find_target("tensorrt").possible("fp32")
    assert {name: settings[name] for name in builder.VALUES} == builder.VALUES


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_build(tmp_path: Path, number: int) -> None:
    """Sent while TensorRT is at it; what the signal did before, it does when TensorRT has returned."""
    path = save(tmp_path / "g.onnx", helper.make_node("Relu", ["x"], ["y"]))
    got: list[int] = []
    before = signal.signal(number, lambda given, frame: got.append(given))
    try:
        with pytest.raises(BuildError, match="cannot build"):
            build_engine(find_tensorrt(), path, BuildOptions(), say=lambda what: signal.raise_signal(number))
    finally:
        signal.signal(number, before)
    assert got == [number]


def test_without_tensorrt_the_error_says_what_to_install(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(BuildError, match="pip install tensorrt-rtx"):
        find_tensorrt()
    monkeypatch.undo()
    monkeypatch.setattr(builder, "PACKAGES", ())
    with pytest.raises(ExportError, match="--build-kit"):
        export_bundle(checkpoint, tmp_path / "x", ExportOptions(target="tensorrt", precision="fp32"))
    assert not (tmp_path / "x").exists()
