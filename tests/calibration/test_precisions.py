"""Every precision of a tiny model; its graphs are exported once per layout."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from moebius_edge.calibration.activations.calibrate import GraphRuntime
from moebius_edge.calibration.activations.collect import collect
from moebius_edge.calibration.activations.data import Followed, choose_samples, packaged_photos
from moebius_edge.calibration.activations.recording import Recording
from moebius_edge.calibration.int8 import mixed
from moebius_edge.calibration.int8.coverage import coverage
from moebius_edge.calibration.int8.mixed import score
from moebius_edge.calibration.int8.qdq import QDQ_STYLES, quantize
from moebius_edge.calibration.int8.sensitivity import Entry, Ledger
from moebius_edge.calibration.precisions import Conversion, convert, ledger_of
from moebius_edge.checking import first_run
from moebius_edge.checking.thresholds import thresholds
from moebius_edge.checking.verify import compare
from moebius_edge.checkpoints.checkpoint import Checkpoint
from moebius_edge.cli.payoff import print_conversion
from moebius_edge.common.errors import CalibrationError, ExportError
from moebius_edge.export import payoff as payoff_module
from moebius_edge.export.build import export_bundle, record_ranges
from moebius_edge.export.onnx import graphs
from moebius_edge.export.options import ExportOptions, check_used
from moebius_edge.export.payoff import Payoff, measure_payoff
from moebius_edge.export.targets.ort_mobile.ort_format import structure
from moebius_edge.export.targets.registry import own_targets
from moebius_edge.onnx_tools.layers import Graph, find_layers
from moebius_edge.onnx_tools.macs import count_macs
from moebius_edge.onnx_tools.sessions import open_session, session_options
from moebius_edge.precisions import PRECISIONS
from moebius_edge.runtimes import find_runtime, open_runtime
from tests.export.conftest import Models, operators
from tests.kept import QUICK


@pytest.mark.parametrize(
    # Random weights at 4x4 latents amplify errors: nano is 20 to 37 dB closer.
    ("precision", "closeness"),
    [("fp16", 28.0), ("w8", 24.0), ("w4", 12.0), ("int8", 16.0)],
)
def test_a_precision_is_close_to_the_floats(
    first: Models, last: Models, seen: Followed, recording: Recording, precision: str, closeness: float
) -> None:
    models = last if PRECISIONS[precision].calibrated else first
    conversion = Conversion("onnxruntime", "mse", recording=recording, seen=seen)
    graph = convert(models, precision, conversion)[0]["denoiser"]
    feed = seen.samples["denoiser"][0]
    found, exact = (open_session(model).run(None, feed)[0] for model in (graph, models["denoiser"]))
    assert closeness < compare(found, exact).db < 150


def test_onnx_runtime_runs_every_layer_quantized(last: Models, recording: Recording, tmp_path: Path) -> None:
    graph = convert(last, "int8", Conversion("onnxruntime", "mse", recording=recording))[0]["denoiser"]
    onnx.save(graph, tmp_path / "denoiser.onnx")
    found = coverage(last["denoiser"], tmp_path / "denoiser.onnx")
    assert found.layers == found.wished > 60
    # In a tiny model position lambdas and tables weigh more than in a large one.
    assert found.quantized_macs > 0.2 * found.macs


def test_a_recording_fits_both_layouts(
    first: Models, last: Models, seen: Followed, recording: Recording
) -> None:
    """Recorded with channels last, the ranges are those of the same layers with channels first."""
    model = first["denoiser"]
    ranges = recording.ranges(model, "minmax")
    assert len(ranges) > 60
    own = collect(model, seen.samples["denoiser"], ranges)
    for tensor, (low, high) in ranges.items():
        width = high - low
        assert low == pytest.approx(own[tensor].ends[0], abs=1e-4 * width), tensor
        assert high == pytest.approx(own[tensor].ends[1], abs=1e-4 * width), tensor


def test_an_int8_bundle_is_exported(
    checkpoint: Checkpoint, recording: Recording, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ExportOptions(precision="int8")
    bundle = export_bundle(checkpoint, tmp_path / "a.moebius", options, recording=recording)
    assert bundle.manifest.precision == "int8"
    nodes = onnx.load(bundle.file("denoiser.onnx"), load_external_data=False).graph.node
    assert sum(node.op_type == "QuantizeLinear" for node in nodes) > 50
    report = json.loads(bundle.file("precision.json").read_text())
    assert report["coverage"]["layers"] == report["coverage"]["wished"] > 60
    assert len(report["int8"]["quantized"]) == report["coverage"]["layers"]
    assert {entry["reason"] for entry in report["int8"]["left_floats"]} >= {"batched", "few positions"}
    assert report["int8"]["calibration"] == recording.recipe
    stored = report["float_weights"]["denoiser"]
    size = bundle.file("denoiser.onnx").stat().st_size + bundle.file("denoiser.onnx.data").stat().st_size
    assert stored["bytes"] < size < stored["fp32_bytes"]
    assert "onnxruntime" in bundle.manifest.tools
    print_conversion(bundle)
    layers = report["coverage"]["layers"]
    assert f"runs {layers} of {layers} quantized layers in INT8" in capsys.readouterr().out


def test_the_autoencoder_beside_int8_may_be_fp16(
    checkpoint: Checkpoint, recording: Recording, tmp_path: Path
) -> None:
    settings = {"autoencoder": "fp16"}
    options = ExportOptions(target="ort-mobile", precision="int8", calibration=QUICK, settings=settings)
    bundle = export_bundle(checkpoint, tmp_path / "a", options, recording=recording)
    assert bundle.manifest.settings == settings
    runtime, expected = open_runtime(bundle), bundle.capsule()
    for graph, inputs in first_run.graph_inputs(expected).items():
        weights = [t for t in structure(bundle.file(f"{graph}.ort")).graph.initializer if len(t.dims) > 1]
        kinds = {tensor.data_type for tensor in weights}
        assert kinds == {TensorProto.FLOAT16} if graph != "denoiser" else TensorProto.INT8 in kinds
        found = runtime.run(graph, inputs)
        if graph != "denoiser":
            bar = PRECISIONS["fp16"].thresholds.graph_db(graph)
            assert min(compare(found[name], expected[f"{graph}.{name}"]).db for name in found) > bar
    assert set(json.loads(bundle.file("precision.json").read_text())["graphs"]) == {"encoder", "decoder"}


def test_the_autoencoder_beside_int8_may_have_small_weights(last: Models, recording: Recording) -> None:
    kernel = np.random.default_rng(1).standard_normal((32, 16, 3, 3)).astype(np.float32)
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, n, 8, 8])
        for name, n in (("x", 16), ("y", 32))
    ]
    node = helper.make_node("Conv", ["x", "k"], ["y"], pads=[1] * 4)
    made = helper.make_graph([node], "g", ends[:1], ends[1:], [numpy_helper.from_array(kernel, "k")])
    coder = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    models = {"encoder": coder, "denoiser": last["denoiser"], "decoder": coder}

    def converted(autoencoder: str | None) -> tuple[Models, dict[str, Any]]:
        return convert(
            models, "int8", Conversion("onnxruntime", "mse", recording=recording, autoencoder=autoencoder)
        )

    (plain, _), (small, report) = converted(None), converted("w8")
    assert small["denoiser"] == plain["denoiser"] and plain["encoder"] == coder == plain["decoder"]
    x = np.random.default_rng(2).standard_normal((1, 16, 8, 8)).astype(np.float32)
    for graph in ("encoder", "decoder"):
        assert len(small[graph].SerializeToString()) < 0.4 * len(coder.SerializeToString())
        found, exact = (open_session(model).run(None, {"x": x})[0] for model in (small[graph], coder))
        assert 40 < compare(found, exact).db < 100
        assert report["graphs"][graph]["quantized"]


def test_thresholds_follow_the_autoencoder() -> None:
    row = PRECISIONS["int8"].thresholds
    assert thresholds("int8") == thresholds("int8", {"autoencoder": "fp32"}) == row
    for name in ("fp16", "w8"):
        coder = PRECISIONS[name].thresholds
        expected = replace(row, encoder_db=coder.encoder_db, decoder_db=coder.decoder_db)
        assert thresholds("int8", {"autoencoder": name}) == expected
    half = PRECISIONS["fp16"].thresholds
    assert thresholds("int8", {"floats": "float16"}).encoder_db == half.encoder_db < row.encoder_db
    assert thresholds("w4", {"floats": "float16"}).decoder_db == PRECISIONS["w4"].thresholds.decoder_db


@pytest.fixture(scope="module")
def ledger(last: Models, seen: Followed, recording: Recording) -> Ledger:
    return ledger_of(
        last["denoiser"], Conversion("onnxruntime", "mse", options=QUICK, recording=recording, seen=seen)
    )


@pytest.fixture(scope="module")
def guessed(last: Models, recording: Recording) -> Ledger:
    """One in which layers cost less and less: any order will do for what reads it."""
    layers = find_layers(Graph(last["denoiser"]))
    entries = (
        Entry(name, layer.op, False, 1, 0.1 / (i + 1)) for i, (name, layer) in enumerate(layers.items())
    )
    return Ledger(recording.recipe["weights_sha256"], "mse", "onnxruntime", 4, 0.1, tuple(entries))


@pytest.mark.full
def test_the_ledger_is_what_each_layer_costs_alone(
    last: Models, seen: Followed, recording: Recording, ledger: Ledger
) -> None:
    noises = [entry.noise for entry in ledger.entries]
    assert noises == sorted(noises, reverse=True)
    assert len(noises) > 60
    style, ranges = QDQ_STYLES["onnxruntime"], recording.ranges(last["denoiser"], "mse")

    def opened(model: onnx.ModelProto) -> Any:
        options = (
            session_options()
        )  # on blocks of channels sums are in another order, and roundings fall anew
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        return open_session(model, options)

    exact = opened(last["denoiser"])

    def noise(names: list[str]) -> float:
        quantized = opened(quantize(last["denoiser"], ranges, style, names=names))
        found = []
        for sample in choose_samples(seen.samples["denoiser"], ledger.samples, QUICK.steps_per_edit):
            a, b = (session.run(None, sample)[0].astype(np.float64) for session in (quantized, exact))
            found.append(np.mean((a - b) ** 2) / np.ptp(b) ** 2)
        return float(np.mean(found))

    for entry in (ledger.entries[0], ledger.entries[len(noises) // 2]):
        assert entry.noise == pytest.approx(noise([entry.layer]), rel=0.05)  # -60 dB: sums in another order
    assert ledger.together == pytest.approx(noise([entry.layer for entry in ledger.entries]), rel=1e-3)


def test_mixed_precision_reaches_its_target_with_floats_that_int8_does_not(
    checkpoint: Checkpoint,
    last: Models,
    seen: Followed,
    recording: Recording,
    guessed: Ledger,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(mixed, "TARGETS_DB", (0.0, 60.0))  # what random weights at 4x4 latents can reach
    conversion = Conversion("onnxruntime", "mse", options=QUICK, recording=recording, seen=seen)
    int8 = convert(last, "int8", conversion)[0]
    plain = score(GraphRuntime(int8), seen.edits, QUICK)
    target = plain.mean_db + 6
    options = ExportOptions(precision="mixed", target_db=target, calibration=QUICK)
    bundle = export_bundle(checkpoint, tmp_path / "a", options, recording=recording, ledger=guessed)
    written = json.loads(bundle.file("precision.json").read_text())
    models = {name: onnx.load(bundle.file(f"{name}.onnx")) for name in last}
    assert 0 < len(kept := written["mix"]["kept"]) < written["mix"]["layers"]
    kinds = {t.data_type for t in models["denoiser"].graph.initializer if np.prod(t.dims) >= 4096}
    assert kinds <= {TensorProto.FLOAT16, TensorProto.INT8}  # no float32 is stored
    # The export has followed the loop anew, and has seen the same edits.
    found = score(GraphRuntime(models), seen.edits, QUICK)
    assert found.reaches(target) and asdict(found) == written["mix"]["score"]
    assert set(written["int8"]["quantized"]).isdisjoint(kept)
    assert written["bytes"]["now"] < written["bytes"]["fp32"]
    mobile = export_bundle(
        checkpoint, tmp_path / "b", replace(options, target="ort-mobile"), recording=recording, ledger=guessed
    )
    there = json.loads(mobile.file("precision.json").read_text())["mix"]
    assert (written["mix"]["float_weight_bits"], there["float_weight_bits"]) in ((16, 32), (8, 8))
    assert 0 < len(there["kept"]) < there["layers"]
    graph = structure(mobile.file("denoiser.ort"))
    assert count_macs(graph) == mobile.manifest.graphs["denoiser"].macs
    assert "QLinearConv" in operators(graph)
    feed = seen.samples["denoiser"][0]
    exact = open_session(last["denoiser"]).run(None, feed)[0]
    assert compare(open_runtime(mobile).run("denoiser", feed)["noise"], exact).db > 16
    print_conversion(bundle)
    printed = capsys.readouterr().out
    assert f"{len(kept)} of {written['mix']['layers']} layers stay floats: {kept[0]}" in printed
    assert f"target {target:g} dB" in printed


def crispen(models: Models, conversion: Conversion) -> tuple[Models, dict[str, Any]]:
    """A conversion whose report has no sentences."""
    del conversion
    return models, {"crumbs": 3}


def toast(models: Models, conversion: Conversion) -> tuple[Models, dict[str, Any]]:
    """One whose report has."""
    return models, {**crispen(models, conversion)[1], "graphs": {}, "summary": ["3 crumbs [fell]"]}


@pytest.mark.parametrize(("make", "said"), [(crispen, ""), (toast, "3 crumbs [fell]\n")])
def test_of_a_new_precision_its_own_sentences_are_printed(
    checkpoint: Checkpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    make: Callable[..., Any],
    said: str,
) -> None:
    row = replace(PRECISIONS["fp32"], name="crisp", convert=f"{__name__}:{make.__name__}")
    monkeypatch.setitem(PRECISIONS, "crisp", row)
    bundle = export_bundle(checkpoint, tmp_path / "a.moebius", ExportOptions(precision="crisp"))
    print_conversion(bundle)
    file = bundle.file("precision.json")
    assert capsys.readouterr().out == f"{said}what was converted, what was kept and why: {file}\n"


def test_every_precision_of_a_target_is_known() -> None:
    for target in own_targets():
        assert {target.graphs_of(precision) for precision in target.precisions} <= set(PRECISIONS)
        needs = {need for name in target.precisions for need in PRECISIONS[name].needs}
        assert set(target.made_of) <= set(target.precisions)
        assert set(target.only) <= {*target.precisions, *needs}
        assert find_runtime(target.runtime).opens == target.runtime


def test_the_precisions_of_the_targets() -> None:
    mixed = ("int8", "mixed")
    found = {target.name: target.precisions for target in own_targets()}
    assert (
        found.items()
        >= {
            "ort": ("fp32", "fp16", *mixed, "w8", "w4"),
            "ort-mobile": ("fp32", "fp16", *mixed, "w8"),
            "coreml": ("fp16", "fp32", *mixed, "w8", "w4", "p8", "p6", "p4"),
            "tensorrt": ("fp16", "fp32", *mixed),
        }.items()
    )


def test_what_only_a_target_makes_is_no_conversion(first: Models) -> None:
    with pytest.raises(ExportError, match="p8 is made by a target"):
        convert(first, "p8", Conversion("onnxruntime", "mse"))


def test_a_ledger_of_other_layers_is_refused(
    last: Models, seen: Followed, recording: Recording, guessed: Ledger
) -> None:
    conversion = Conversion("onnxruntime", "mse", recording=recording, seen=seen)
    for entries in (guessed.entries[1:], (*guessed.entries, guessed.entries[0])):
        wrong = replace(guessed, entries=entries)
        with pytest.raises(CalibrationError, match="of this model"):
            convert(last, "mixed", replace(conversion, ledger=wrong))


def test_a_ledger_of_other_weights_leaves_nothing(checkpoint: Checkpoint, tmp_path: Path) -> None:
    other = Ledger("0" * 64, "mse", "onnxruntime", 4, 1.0, (Entry("a", "Conv", False, 1, 1.0),))
    with pytest.raises(CalibrationError, match="weights_sha256"):
        export_bundle(checkpoint, tmp_path / "a", ExportOptions(precision="mixed"), ledger=other)
    assert not list(tmp_path.iterdir())


def test_a_precision_is_compared_with_fp32_in_one_run(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = export_bundle(checkpoint, tmp_path / "a", ExportOptions(precision="w4"))
    ran: list[str] = []

    def interleave(works: list[Callable[[], Any]], pairs: int, tick: object) -> list[list[float]]:
        ours, fp32 = (work() for work in works)
        ran.append(f"{compare(ours['noise'], fp32[0]).db < 60}")  # w4 and FP32, on the same inputs
        return [[10.0] * pairs, [25.0] * pairs]

    monkeypatch.setattr(payoff_module, "interleave", interleave)
    payoff = measure_payoff(checkpoint, bundle)
    assert ran == ["True"]
    assert (payoff.step_ms, payoff.fp32_ms) == pytest.approx((10, 25))
    assert payoff.ratio == pytest.approx(2.5)
    assert payoff.sentence().endswith("2.50 times as fast (median of 5 runs in turns)")
    # Random weights in 4 bits are no model at all: the self-test must say so.
    assert any("came out worse" in warning for warning in payoff.warnings())


@pytest.mark.parametrize(
    ("ratio", "word"), [(0.5, "slower than fp32"), (1.0, "no faster than fp32"), (2.0, None)]
)
def test_a_precision_that_does_not_pay_is_warned_of(ratio: float, word: str | None) -> None:
    warnings = Payoff("int8", 1.0, ratio, ratio, ()).warnings()
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


@pytest.mark.parametrize(
    ("precision", "given", "words"),
    [
        ("fp16", {"recording": True}, "fp16 uses no calibration; leave it away, or choose int8 or mixed"),
        ("int8", {"ledger": True}, "int8 uses no ledger; leave it away, or choose mixed"),
    ],
)
def test_what_a_precision_ignores_is_refused(precision: str, given: dict[str, bool], words: str) -> None:
    with pytest.raises(ExportError, match=words):
        check_used(ExportOptions(precision=precision), **{"recording": False, "ledger": False, **given})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (ExportOptions(observer="minmax"), "fp32 reads no ranges with an observer"),
        (ExportOptions(precision="w8", observer="entropy"), "w8 reads no ranges with an observer"),
        (ExportOptions(precision="int8", target_db=45.0), "int8 has no target in dB"),
        (ExportOptions(precision="mixed", observer="minmax", target_db=45.0), None),
        (ExportOptions(precision="int8", observer="minmax"), None),
    ],
)
def test_options_that_change_nothing_are_refused(options: ExportOptions, words: str | None) -> None:
    if words is None:
        check_used(options, recording=False, ledger=False)
    else:
        with pytest.raises(ExportError, match=words):
            check_used(options, recording=False, ledger=False)


@pytest.mark.parametrize(
    ("precision", "recording", "words"),
    [
        ("w8", False, "w8 uses no calibration photos"),
        ("int8", True, "with a finished calibration it uses no calibration photos"),
        ("int8", False, None),
        ("fp16", False, None),
        ("mixed", True, None),
    ],
)
def test_photos_that_nobody_looks_at_are_refused(precision: str, recording: bool, words: str | None) -> None:
    options = ExportOptions(precision=precision, images=packaged_photos())
    if words is None:
        check_used(options, recording=recording, ledger=False)
    else:
        with pytest.raises(ExportError, match=words):
            check_used(options, recording=recording, ledger=False)


def test_a_photo_that_cannot_be_used_is_found_before_the_graphs_are_made(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(graphs, "fp32_graphs")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no photo")
    options = ExportOptions(precision="int8", images=tmp_path / "photos")
    with pytest.raises(CalibrationError, match=r"broken\.jpg"):
        export_bundle(checkpoint, tmp_path / "a", options)
    with pytest.raises(CalibrationError, match=r"broken\.jpg"):
        record_ranges(checkpoint, options)
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_options_that_do_not_go_together() -> None:
    with pytest.raises(ExportError, match="direct"):
        ExportOptions(precision="int8", graph="direct")
    with pytest.raises(ExportError, match="observer"):
        ExportOptions(precision="int8", observer="guess")
