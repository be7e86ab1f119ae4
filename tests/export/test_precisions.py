"""Every precision of a tiny model; its graphs are exported once per layout."""

from pathlib import Path

import onnx
import pytest

from moebius_edge.calibration.calibrate import calibrate, follow
from moebius_edge.calibration.collect import session_of
from moebius_edge.calibration.coverage import coverage
from moebius_edge.calibration.data import CalibrationOptions
from moebius_edge.calibration.recording import Recording
from moebius_edge.checkpoints import Checkpoint, fingerprint
from moebius_edge.errors import CalibrationError, ExportError
from moebius_edge.export.build import ExportOptions, export_bundle, fp32_graphs
from moebius_edge.export.forms import Forms
from moebius_edge.export.precisions import PRECISIONS, Conversion, convert
from moebius_edge.export.targets import TARGETS
from moebius_edge.parity import compare
from moebius_edge.tensors import Array
from moebius_edge.thresholds import THRESHOLDS

QUICK = CalibrationOptions(edits=4, steps_per_edit=4, steps=5)
Models = dict[str, onnx.ModelProto]
Inputs = dict[str, list[dict[str, Array]]]


@pytest.fixture(scope="module")
def last(checkpoint: Checkpoint) -> Models:
    return fp32_graphs(checkpoint, Forms(layout="channels_last"))


@pytest.fixture(scope="module")
def first(checkpoint: Checkpoint) -> Models:
    return fp32_graphs(checkpoint, Forms())


@pytest.fixture(scope="module")
def inputs(last: Models) -> Inputs:
    return follow(last, QUICK)


@pytest.fixture(scope="module")
def recording(checkpoint: Checkpoint, last: Models) -> Recording:
    return calibrate(last, fingerprint(checkpoint), QUICK)


@pytest.mark.parametrize(
    # Random weights at 4x4 latents amplify errors: nano is 20 to 37 dB closer.
    ("precision", "closeness"),
    [("fp16", 28.0), ("w8", 24.0), ("w4", 12.0), ("int8", 16.0)],
)
def test_a_precision_is_close_to_the_floats(
    first: Models, last: Models, inputs: Inputs, recording: Recording, precision: str, closeness: float
) -> None:
    models = last if PRECISIONS[precision].layout == "channels_last" else first
    graph = convert(models, precision, Conversion("onnxruntime", "mse", recording, inputs))["denoiser"]
    feed = inputs["denoiser"][0]
    found, exact = (session_of(model).run(None, feed)[0] for model in (graph, models["denoiser"]))
    assert closeness < compare(found, exact).db < 150


def test_onnx_runtime_runs_every_layer_quantized(last: Models, recording: Recording, tmp_path: Path) -> None:
    graph = convert(last, "int8", Conversion("onnxruntime", "mse", recording))["denoiser"]
    onnx.save(graph, tmp_path / "denoiser.onnx")
    found = coverage(last["denoiser"], tmp_path / "denoiser.onnx")
    assert found.layers == found.wished > 60
    assert found.share > 0.2  # in a tiny model position lambdas and tables weigh more than in a large one


def test_a_recording_fits_both_layouts(first: Models, last: Models, recording: Recording) -> None:
    ranges = [recording.ranges(models["denoiser"], "minmax") for models in (first, last)]
    assert min(map(len, ranges)) > 60


def test_an_int8_bundle_is_exported(checkpoint: Checkpoint, recording: Recording, tmp_path: Path) -> None:
    options = ExportOptions(precision="int8")
    bundle = export_bundle(checkpoint, tmp_path / "a.moebius", options, recording=recording)
    assert bundle.manifest.precision == "int8"
    nodes = onnx.load(bundle.file("denoiser.onnx"), load_external_data=False).graph.node
    assert sum(node.op_type == "QuantizeLinear" for node in nodes) > 50


def test_a_recording_of_other_weights_leaves_nothing(
    checkpoint: Checkpoint, recording: Recording, tmp_path: Path
) -> None:
    other = Recording({**recording.recipe, "weights_sha256": "0" * 64}, recording.histograms)
    with pytest.raises(CalibrationError, match="other weights"):
        export_bundle(checkpoint, tmp_path / "a", ExportOptions(precision="int8"), recording=other)
    assert not list(tmp_path.iterdir())


def test_a_recording_of_another_architecture_is_refused(last: Models, recording: Recording) -> None:
    few = Recording(recording.recipe, dict(list(recording.histograms.items())[:5]))
    with pytest.raises(CalibrationError, match="another architecture"):
        few.ranges(last["denoiser"], "mse")


def test_options_that_do_not_go_together() -> None:
    with pytest.raises(ExportError, match="direct"):
        ExportOptions(precision="int8", graph="direct")
    with pytest.raises(ExportError, match="observer"):
        ExportOptions(precision="int8", observer="guess")


def test_every_precision_of_a_target_has_thresholds() -> None:
    assert {precision for target in TARGETS.values() for precision in target.precisions} <= set(THRESHOLDS)
