"""The full-size model, 226 M parameters: size, memory, parity of its bundle. The Makefile has the budget."""

from pathlib import Path

import onnx
import pytest

from moebius_edge.bundle.folder import Bundle
from moebius_edge.bundle.manifest import GRAPH_NAMES
from moebius_edge.calibration.activations.amplitudes import float_tensors
from moebius_edge.calibration.fp16.convert import to_fp16
from moebius_edge.checking.first_run import measure_first_run
from moebius_edge.checking.verify import verify
from moebius_edge.checkpoints.load import load_checkpoint
from moebius_edge.export.build import export_bundle
from moebius_edge.export.targets.tensorrt.builder import BuildOptions, build_engine
from moebius_edge.onnx_tools.external_data import save
from moebius_edge.runtimes import open_runtime
from tests.export.conftest import operators

pytestmark = pytest.mark.full

DENOISER_MB = 960  # in 10^6 bytes, as everywhere
EDIT_PEAK_MB = 2600


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return export_bundle(load_checkpoint("synthetic"), tmp_path_factory.mktemp("full") / "synthetic.moebius")


def test_it_equals_the_reference(bundle: Bundle) -> None:
    report = verify(bundle, open_runtime(bundle))
    assert report.ok, report


def test_the_denoiser_is_small(bundle: Bundle) -> None:
    files = bundle.manifest.files
    size = sum(entry.size for name, entry in files.items() if name.startswith("denoiser"))
    assert size <= DENOISER_MB * 10**6


def test_the_denoiser_has_only_what_it_needs(bundle: Bundle) -> None:
    graph = onnx.load(bundle.file("denoiser.onnx"), load_external_data=False)
    assert "Einsum" not in operators(graph)
    ranks = {tensor.name: len(tensor.dims) for tensor in graph.graph.initializer}
    assert {ranks[node.input[1]] for node in graph.graph.node if node.op_type == "Conv"} == {4}
    conditioning = {3072, 768}  # widths of the embedding before and after its projection
    assert not [t.name for t in graph.graph.initializer if conditioning & set(t.dims)]


def test_an_edit_stays_within_its_memory(bundle: Bundle) -> None:
    peak = measure_first_run(bundle, GRAPH_NAMES).peak_mb
    if peak is None:
        pytest.skip("this system does not tell a process's peak memory")
    assert peak < EDIT_PEAK_MB


def test_tensorrt_builds_the_denoiser(bundle: Bundle, tmp_path: Path) -> None:
    """In FP16, by TensorRT for RTX and without a GPU; which nodes calibration would keep is not the point."""
    trt = pytest.importorskip("tensorrt_rtx")
    model = onnx.load(bundle.file("denoiser.onnx"))
    halved, _ = to_fp16(model, dict.fromkeys(float_tensors(model), 1.0))
    save(halved, tmp_path / "denoiser.onnx")
    del model, halved
    engine, interface = build_engine(trt, tmp_path / "denoiser.onnx", BuildOptions())
    spec = bundle.manifest.graphs["denoiser"]
    assert interface.keys() == {tensor.name for tensor in (*spec.inputs, *spec.outputs)}
    assert 400e6 < len(engine) < 600e6


def test_no_file_names_the_machine(bundle: Bundle) -> None:
    here = str(Path.home()).encode()
    for name in ("manifest.json", "encoder.onnx", "denoiser.onnx", "decoder.onnx"):
        assert here not in (bundle.folder / name).read_bytes()
