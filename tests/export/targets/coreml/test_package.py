"""Packages: the numbers of the ONNX graphs, the same bytes, what Xcode shows, what damage does."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from coremltools.models.utils import load_spec
from onnx import TensorProto, helper

from moebius_edge.bundle.folder import Bundle
from moebius_edge.bundle.manifest import GRAPH_NAMES
from moebius_edge.checking.verify import compare, verify
from moebius_edge.checkpoints.checkpoint import Checkpoint
from moebius_edge.common.errors import BundleError, ExportError, InvalidInput, RuntimeUnavailable
from moebius_edge.export.build import export_bundle
from moebius_edge.export.onnx.graph_specs import graph_specs
from moebius_edge.export.options import ExportOptions
from moebius_edge.export.targets.coreml.neural_engine import examine
from moebius_edge.export.targets.coreml.package import FEATURES, GRAPHS, ship, to_program
from moebius_edge.runtimes import default_runtime, open_runtime
from moebius_edge.runtimes.external_data import graph_files
from moebius_edge.runtimes.mlpackage import MODEL, PARTS, WEIGHTS
from tests.export.conftest import Models, graph_inputs
from tests.kept import QUICK


@pytest.fixture(scope="module")
def bundles(
    checkpoint: Checkpoint, fp32: Bundle, coreml: Bundle, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Bundle]:
    options = ExportOptions(target="coreml", precision="fp16", calibration=QUICK)
    half = export_bundle(checkpoint, tmp_path_factory.mktemp("coreml") / "fp16", options)
    return {"onnx": fp32, "fp32": coreml, "fp16": half}


@pytest.mark.parametrize("graph", GRAPH_NAMES)
def test_a_package_computes_what_the_onnx_graph_does(bundles: dict[str, Bundle], graph: str) -> None:
    inputs = graph_inputs(bundles["onnx"], graph)
    expected = open_runtime(bundles["onnx"]).run(graph, inputs)
    found = open_runtime(bundles["fp32"], "mil").run(graph, inputs)
    half = open_runtime(bundles["fp16"], "mil").run(graph, inputs)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert found[name].dtype == np.float32
        # A tiny model with weights by rule magnifies errors: nano and the full one are within 3e-6.
        assert np.abs(found[name] - values).max() <= 5e-5 * np.abs(values).max()
        assert 35 < compare(half[name], values).db < 90  # rounded to 11 bits, and really rounded


def test_the_self_test_passes(bundles: dict[str, Bundle]) -> None:
    report = verify(bundles["fp32"], open_runtime(bundles["fp32"], "mil"))
    assert report.ok, report.failures
    assert (report.runtime, report.precision) == ("mil", "fp32")


def test_the_manifest_names_packages_and_what_made_them(bundles: dict[str, Bundle]) -> None:
    bundle = bundles["fp16"]
    manifest = bundle.manifest
    assert (manifest.target, manifest.runtime) == ("coreml", "coreml")
    assert "coremltools" in manifest.tools
    for name in GRAPH_NAMES:
        assert manifest.graphs[name].file == f"{name}.mlpackage"
        files = {"Manifest.json", f"{PARTS}/model.mlmodel", f"{PARTS}/weights/weight.bin"}
        assert graph_files(bundle, name) == {f"{name}.mlpackage/{file}" for file in files}
    halves, singles = (
        sum(bundles[kind].manifest.files[file].size for file in graph_files(bundles[kind], "denoiser"))
        for kind in ("fp16", "fp32")
    )
    assert halves < 0.75 * singles


def test_the_neural_engine_gets_each_graph_whole_but_for_what_is_float32(bundles: dict[str, Bundle]) -> None:
    for graph in examine(bundles["fp16"]).providers[0].graphs:
        assert {fall.reason for fall in graph.falls} <= {"float32"}
        assert graph.partitions == 1


def test_what_xcode_shows(bundles: dict[str, Bundle], checkpoint: Checkpoint) -> None:
    for name in GRAPH_NAMES:
        path = bundles["fp16"].file(f"{name}.mlpackage")
        description = load_spec(str(path)).description
        assert GRAPHS[name] in description.metadata.shortDescription
        assert description.metadata.license == checkpoint.license
        for feature in (*description.input, *description.output):
            assert feature.shortDescription == FEATURES[f"{name}.{feature.name}"]
        listed = json.loads((path / "Manifest.json").read_text())
        entries = listed["itemInfoEntries"]
        assert {(path / "Data" / entry["path"]).exists() for entry in entries.values()} == {True}
        assert entries[listed["rootModelIdentifier"]]["name"] == "model.mlmodel"


WRITE = """
import onnx
from pathlib import Path
from moebius_edge.export.targets.coreml.package import DATE, save, to_program
program = to_program(onnx.load(graph))
spec = program.get_spec()
spec.description.metadata.userDefined.pop(DATE)
save(spec, Path(program.weights_dir), Path(output))
"""


def test_another_process_writes_the_same_bytes_and_says_nothing(
    bundles: dict[str, Bundle], tmp_path: Path
) -> None:
    """coremltools would name what of it is only on macOS, and versions of torch."""
    graph, outputs = str(bundles["onnx"].file("decoder.onnx")), (tmp_path / "there", tmp_path / "here")
    code = f"import sys\ngraph, output = sys.argv[1:]\n{WRITE}"
    command = [sys.executable, "-c", code, graph, str(outputs[0])]
    done = subprocess.run(command, check=True, env={"PYTHONHASHSEED": "1"}, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("", "")
    exec(WRITE, {"graph": graph, "output": str(outputs[1])})  # where strings have other hashes
    there, here = (
        [
            (path.relative_to(output), path.read_bytes())
            for path in sorted(output.rglob("*"))
            if path.is_file()
        ]
        for output in outputs
    )
    assert there == here and len(there) == 3


@pytest.mark.parametrize("name", ["model.mlmodel", "weights/weight.bin"])
def test_damage_is_found_before_anything_is_run(
    bundles: dict[str, Bundle], tmp_path: Path, name: str
) -> None:
    bundle = Bundle.open(Path(shutil.copytree(bundles["fp32"].folder, tmp_path / "a")))
    file = bundle.file(f"decoder.mlpackage/{PARTS}/{name}")
    whole = file.read_bytes()
    for damaged in (whole[:-1], whole[:100], b"", bytes([whole[0] ^ 1]) + whole[1:]):
        file.write_bytes(damaged)
        with pytest.raises(BundleError, match=file.name):
            Bundle.open(bundle.folder)
        # Damaged after it was opened: an error of ours, never a crash or a picture.
        if len(damaged) < len(whole):
            with pytest.raises((BundleError, RuntimeUnavailable)):
                open_runtime(bundle, "mil").run("decoder", graph_inputs(bundle, "decoder"))


@pytest.mark.parametrize(
    ("precision", "deployment", "version", "stored_as", "share"),
    [
        pytest.param("fp32", "iOS16", 7, set(), 1.0, marks=pytest.mark.full),
        ("w8", "iOS17", 8, {"constexpr_affine_dequantize"}, 0.5),
        ("w4", "iOS18", 9, {"constexpr_blockwise_shift_scale"}, 0.45),
        pytest.param("p8", "iOS16", 7, {"constexpr_lut_to_dense"}, 0.5, marks=pytest.mark.full),
        pytest.param("p6", "iOS17", 8, {"constexpr_lut_to_dense"}, 0.45, marks=pytest.mark.full),
        ("p4", "iOS18", 9, {"constexpr_lut_to_dense"}, 0.4),
    ],
)
def test_weights_are_stored_as_the_precision_says_for_the_system_that_is_asked_for(
    checkpoint: Checkpoint,
    first: Models,
    tmp_path: Path,
    precision: str,
    deployment: str,
    version: int,
    stored_as: set[str],
    share: float,
) -> None:
    denoiser = first["denoiser"]
    onnx.save(denoiser, tmp_path / "denoiser.onnx")
    floats = (tmp_path / "denoiser.onnx").stat().st_size
    options = ExportOptions(target="coreml", precision=precision, settings={"deployment": deployment})
    graphs = {"denoiser": graph_specs(checkpoint, {})["denoiser"]}
    shipped = ship(tmp_path, graphs, options, checkpoint)
    assert shipped["denoiser"].file == "denoiser.mlpackage" and not (tmp_path / "denoiser.onnx").exists()
    stored(tmp_path / "denoiser.mlpackage", version, stored_as, share * floats)


def test_floats_are_stored_as_they_are(bundles: dict[str, Bundle], first: Models) -> None:
    """For the system that is asked for when nobody asks."""
    stored(bundles["fp32"].file("denoiser.mlpackage"), 8, set(), first["denoiser"].ByteSize())


def stored(package: Path, version: int, stored_as: set[str], at_most: float) -> None:
    """Assert of a package the form of its weights, and their bytes."""
    spec = load_spec(str(package / MODEL))
    assert spec.specificationVersion == version
    (block,) = spec.mlProgram.functions["main"].block_specializations.values()
    found = {operation.type for operation in block.operations if operation.type.startswith("constexpr_")}
    assert (stored_as <= found) if stored_as else not found
    # What is small stays as it is, and this model has much of that.
    assert (package / WEIGHTS / "weight.bin").stat().st_size < at_most


def test_off_macos_the_interpreter_stands_in_and_says_so(
    bundles: dict[str, Bundle], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    assert open_runtime(bundles["fp32"]).name == "mil"
    note = "note: coreml needs macOS; here mil, an interpreter of Core ML's packages, stands in for it\n"
    assert capsys.readouterr().err == note
    with pytest.raises(RuntimeUnavailable, match="--runtime mil"):
        open_runtime(bundles["fp32"], "coreml")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert default_runtime(bundles["fp32"]) == "coreml"
    assert default_runtime(bundles["onnx"]) == "onnxruntime"


def test_wrong_inputs_and_unknown_graphs(bundles: dict[str, Bundle]) -> None:
    runtime = open_runtime(bundles["fp32"], "mil")
    with pytest.raises(InvalidInput, match="got the inputs"):
        runtime.run("decoder", {})
    with pytest.raises(InvalidInput, match="no graph 'upscaler'"):
        runtime.run("upscaler", {})
    runtime.release("decoder")  # was never loaded


def test_values_are_free_after_their_last_reader(bundles: dict[str, Bundle]) -> None:
    """All of the reader counts are used up by one run: nothing is kept, nothing freed too early."""
    program = to_program(onnx.load(bundles["onnx"].file("decoder.onnx")))
    from moebius_edge.runtimes.mil import Program  # noqa: PLC0415

    made = Program(program._mil_program.functions["main"])
    assert sum(made.readers.values()) > len(made.operations)
    first, second = (made.run(graph_inputs(bundles["onnx"], "decoder"))["image"] for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_a_graph_that_core_ml_cannot_express_is_one_sentence() -> None:
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in ("x", "y")]
    node = helper.make_node("Erf", ["x"], ["y"], name="the_node")
    graph = helper.make_graph([node], "g", infos[:1], infos[1:])
    with pytest.raises(ExportError, match="the_node"):
        to_program(helper.make_model(graph))
