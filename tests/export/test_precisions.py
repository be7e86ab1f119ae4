"""Every precision of a tiny model; its graphs are exported once per layout."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from moebius_edge.calibration.calibrate import GraphRuntime
from moebius_edge.calibration.collect import session_of
from moebius_edge.calibration.coverage import coverage
from moebius_edge.calibration.data import Followed, spread
from moebius_edge.calibration.mixed import score
from moebius_edge.calibration.qdq import STYLES, quantize
from moebius_edge.calibration.recording import Recording
from moebius_edge.calibration.sensitivity import Entry, Ledger
from moebius_edge.checkpoints import Checkpoint
from moebius_edge.errors import CalibrationError, ExportError
from moebius_edge.export.build import ExportOptions, export_bundle
from moebius_edge.export.precisions import PRECISIONS, Conversion, convert, ledger_of
from moebius_edge.export.targets import TARGETS
from moebius_edge.export.worth import Worth, examine
from moebius_edge.parity import compare
from moebius_edge.thresholds import THRESHOLDS
from tests.export.conftest import Models
from tests.exports import QUICK


@pytest.mark.parametrize(
    # Random weights at 4x4 latents amplify errors: nano is 20 to 37 dB closer.
    ("precision", "closeness"),
    [("fp16", 28.0), ("w8", 24.0), ("w4", 12.0), ("int8", 16.0)],
)
def test_a_precision_is_close_to_the_floats(
    first: Models, last: Models, seen: Followed, recording: Recording, precision: str, closeness: float
) -> None:
    models = last if PRECISIONS[precision].layout == "channels_last" else first
    conversion = Conversion("onnxruntime", "mse", recording=recording, seen=seen)
    graph = convert(models, precision, conversion)[0]["denoiser"]
    feed = seen.samples["denoiser"][0]
    found, exact = (session_of(model).run(None, feed)[0] for model in (graph, models["denoiser"]))
    assert closeness < compare(found, exact).db < 150


def test_onnx_runtime_runs_every_layer_quantized(last: Models, recording: Recording, tmp_path: Path) -> None:
    graph = convert(last, "int8", Conversion("onnxruntime", "mse", recording=recording))[0]["denoiser"]
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
    report = json.loads(bundle.file("precision.json").read_text())
    assert report["coverage"]["layers"] == report["coverage"]["wished"] > 60


@pytest.fixture(scope="module")
def ledger(last: Models, seen: Followed, recording: Recording) -> Ledger:
    return ledger_of(last["denoiser"], Conversion("onnxruntime", "mse", recording=recording, seen=seen))


def test_the_ledger_is_what_each_layer_costs_alone(
    last: Models, seen: Followed, recording: Recording, ledger: Ledger
) -> None:
    noises = [entry.noise for entry in ledger.entries]
    assert noises == sorted(noises, reverse=True)
    assert len(noises) > 60
    worst = ledger.entries[0]
    style, ranges = STYLES["onnxruntime"], recording.ranges(last["denoiser"], "mse")
    alone = session_of(quantize(last["denoiser"], ranges, style, names=[worst.layer]))
    exact = session_of(last["denoiser"])
    found = []
    for sample in spread(seen.samples["denoiser"], ledger.samples):
        a, b = (session.run(None, sample)[0].astype(np.float64) for session in (alone, exact))
        found.append(np.mean((a - b) ** 2) / np.ptp(b) ** 2)
    assert worst.noise == pytest.approx(np.mean(found), rel=1e-3)
    assert ledger.together > worst.noise


def test_mixed_precision_reaches_its_target_with_floats_that_int8_does_not(
    checkpoint: Checkpoint,
    last: Models,
    seen: Followed,
    recording: Recording,
    ledger: Ledger,
    tmp_path: Path,
) -> None:
    conversion = Conversion("onnxruntime", "mse", options=QUICK, recording=recording, seen=seen)
    int8 = convert(last, "int8", conversion)[0]
    plain = score(GraphRuntime(int8), seen.edits, QUICK)
    target = plain.mean_db + 6
    models, report = convert(last, "mixed", replace(conversion, ledger=ledger, target_db=target))
    assert 0 < len(report["mix"]["kept"]) < report["mix"]["layers"]
    assert score(GraphRuntime(models), seen.edits, QUICK).reaches(target)
    options = ExportOptions(precision="mixed", target_db=target, calibration=QUICK)
    # The loop is followed anew, and the same is found.
    bundle = export_bundle(checkpoint, tmp_path / "a", options, recording=recording, ledger=ledger)
    written = json.loads(bundle.file("precision.json").read_text())
    assert written["mix"] == json.loads(json.dumps(report["mix"]))


def test_a_ledger_of_other_layers_is_refused(
    last: Models, seen: Followed, recording: Recording, ledger: Ledger
) -> None:
    conversion = Conversion("onnxruntime", "mse", recording=recording, seen=seen)
    for entries in (ledger.entries[1:], (*ledger.entries, ledger.entries[0])):
        wrong = replace(ledger, entries=entries)
        with pytest.raises(CalibrationError, match="not those of this model"):
            convert(last, "mixed", replace(conversion, ledger=wrong))


def test_a_ledger_of_other_weights_leaves_nothing(checkpoint: Checkpoint, tmp_path: Path) -> None:
    other = Ledger("0" * 64, "mse", "onnxruntime", 4, 1.0, (Entry("a", "Conv", False, 1, 1.0),))
    with pytest.raises(CalibrationError, match="weights_sha256"):
        export_bundle(checkpoint, tmp_path / "a", ExportOptions(precision="mixed"), ledger=other)
    assert not list(tmp_path.iterdir())


def test_a_precision_is_compared_with_fp32_in_one_run(checkpoint: Checkpoint, tmp_path: Path) -> None:
    bundle = export_bundle(checkpoint, tmp_path / "a", ExportOptions(precision="w4"))
    worth = examine(checkpoint, bundle)
    assert worth.ratio == pytest.approx(worth.fp32_ms / worth.step_ms, rel=1)
    assert f"{worth.ratio:.2f} times as fast" in worth.sentence()
    # Random weights in 4 bits are no model at all: the self-test must say so.
    assert any("came out worse" in warning for warning in worth.warnings())


@pytest.mark.parametrize(
    ("ratio", "word"), [(0.5, "slower than fp32"), (1.0, "no faster than fp32"), (2.0, None)]
)
def test_a_precision_that_does_not_pay_is_warned_of(ratio: float, word: str | None) -> None:
    warnings = Worth("int8", 1.0, ratio, ratio, ()).warnings()
    assert [word in warning for warning in warnings] == [True] if word else not warnings


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
