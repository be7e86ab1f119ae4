"""FP32 graphs -> the graphs of a precision: the conversions of the rows of `moebius_edge.precisions`."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import onnx

from moebius_edge.calibration import sentences
from moebius_edge.calibration.activations.amplitudes import amplitudes
from moebius_edge.calibration.activations.calibrate import GraphRuntime
from moebius_edge.calibration.activations.data import CalibrationOptions, Followed, choose_samples
from moebius_edge.calibration.activations.observers import Range
from moebius_edge.calibration.activations.recording import Recording
from moebius_edge.calibration.fp16.between import halve_between
from moebius_edge.calibration.fp16.convert import to_fp16
from moebius_edge.calibration.int8.mixed import Score, score, search
from moebius_edge.calibration.int8.qdq import QDQ_STYLES, quantize
from moebius_edge.calibration.int8.sensitivity import Ledger, measure_sensitivity
from moebius_edge.calibration.weights.encodings import WeightEncoding
from moebius_edge.calibration.weights.halves import store_halves
from moebius_edge.calibration.weights.quantize import WeightOptions, quantize_weights, total_bytes
from moebius_edge.common.errors import ExportError
from moebius_edge.common.plugins import load
from moebius_edge.common.progress import Stage
from moebius_edge.onnx_tools.layers import Graph, Layer, find_layers, left_floats
from moebius_edge.precisions import PRECISIONS, TARGET_DB

LEDGER_SAMPLES = 4  # denoiser inputs on which every layer is tried

Models = dict[str, onnx.ModelProto]  # encoder, denoiser, decoder
# What was converted, what was kept and why: plain values for JSON. `export` prints the sentences of its
# "summary", a list, if it has one.
Report = dict[str, Any]


@dataclass(frozen=True)
class Conversion:
    """What a conversion may need besides the graphs."""

    style: str  # how the engine wants its Q/DQ, a name of `QDQ_STYLES`
    observer: str  # how ranges are read off histograms
    weights: WeightEncoding = "arithmetic"  # how integers become float weights
    half: bool = False  # what a quantized model has as floats is float16
    autoencoder: str | None = None  # precision of the other graphs; None: the denoiser's
    options: CalibrationOptions = field(default_factory=CalibrationOptions)  # of `seen`
    recording: Recording | None = None  # what calibration saw
    seen: Followed | None = None  # the FP32 loop: inputs of each graph, and edits
    ledger: Ledger | None = None  # measured now where a precision needs one
    target_db: float = TARGET_DB  # of a search: finished pictures against FP32's
    measured: Mapping[str, Mapping[str, float]] | None = None  # of `sizes`, where that is done already
    say: Stage = lambda what, done, total: None

    def ranges(self, denoiser: onnx.ModelProto) -> dict[str, Range]:
        """Of the tensors of a denoiser. Raises ExportError without a recording."""
        if self.recording is None:
            raise ExportError("int8 needs a calibration; run `moebius-edge calibrate`, or let export do it")
        return self.recording.ranges(denoiser, self.observer)

    def sizes(self, models: Mapping[str, onnx.ModelProto]) -> Mapping[str, Mapping[str, float]]:
        """Amplitudes of the tensors of each graph, on the inputs that it had in the FP32 loop."""
        if self.measured is not None:
            return self.measured
        samples = self.followed().samples

        def of(name: str, model: onnx.ModelProto) -> dict[str, float]:
            what = f"finding how large the tensors of the {name} get"
            return amplitudes(model, samples[name], lambda done, total: self.say(what, done, total))

        return {name: of(name, model) for name, model in models.items()}

    def followed(self) -> Followed:
        """Return what the FP32 loop gave. Raises ExportError when it was not followed."""
        if self.seen is None:
            raise ExportError("this precision needs the FP32 loop's inputs; let export follow it")
        return self.seen


def keep(models: Models, conversion: Conversion) -> tuple[Models, Report]:
    """Return the graphs as they are."""
    del conversion
    return models, {}


def to_int8(models: Models, conversion: Conversion) -> tuple[Models, Report]:
    """Quantize the denoiser to INT8; weights of float arithmetic (tables, embedding) are stored as in w8.

    What the autoencoder's layers read is not quantized: it runs three times an edit, and its errors show.
    """
    denoiser = models["denoiser"]
    quantized = quantize(denoiser, conversion.ranges(denoiser), QDQ_STYLES[conversion.style])
    options = WeightOptions(encoding=conversion.weights, half_scales=conversion.half)
    stored, weights = quantize_weights(quantized, 8, options)
    made, floats = _between({**models, "denoiser": stored}, conversion, models)
    weights = replace(weights, fp32_bytes=total_bytes(denoiser), bytes=total_bytes(made["denoiser"]))
    return made, {
        "int8": _int8(Graph(denoiser), conversion, ()),
        "float_weights": {"denoiser": weights.to_json()},
        **floats,
    }


def _between(models: Models, conversion: Conversion, originals: Models) -> tuple[Models, Report]:
    """Make floats float16 between integers, if that is asked for; `originals`: the graphs before INT8."""
    if not conversion.half:
        return models, {}
    sizes = conversion.sizes(originals)
    made = {name: halve_between(model, sizes[name]) for name, model in models.items()}
    halved, report = _apart(made, sentences.of_halves)
    return halved, {"fp16": report["graphs"], "summary": report["summary"]}


def _int8(graph: Graph, conversion: Conversion, kept: Collection[str]) -> Report:
    """For the report: what is quantized, what is not and why, and by which calibration."""
    assert conversion.recording is not None
    return {
        "style": conversion.style,
        "observer": conversion.observer,
        "calibration": conversion.recording.recipe,
        "quantized": [name for name in find_layers(graph) if name not in kept],
        "left_floats": [{"weight": name, "reason": why} for name, why in left_floats(graph).items()],
    }


def to_mixed(models: Models, conversion: Conversion) -> tuple[Models, Report]:
    """As INT8, but the layers that cost most per millisecond stay floats, until whole edits reach the target.

    Float weights are stored in 8 bits like INT8's when the target allows it, else in 16.
    """
    denoiser, seen = models["denoiser"], conversion.followed()
    layers, ranges = find_layers(Graph(denoiser)), conversion.ranges(denoiser)
    conversion = replace(conversion, measured=conversion.sizes(models) if conversion.half else None)
    runtime = GraphRuntime(models)  # of all trials: only the denoiser changes
    used = list[Ledger]()

    def costs() -> Ledger:
        used.append(conversion.ledger or ledger_of(denoiser, conversion))
        return used[0]

    def trial(kept: Collection[str], bits: int = 16) -> Score:
        model = _mixed(denoiser, conversion, layers, ranges, kept, bits)
        runtime.replace("denoiser", _between({"denoiser": model}, conversion, models)[0]["denoiser"])
        return score(runtime, seen.edits, conversion.options, conversion.target_db)

    mix = search(layers, costs, trial, conversion.target_db, conversion.say)
    conversion.say("mixed precision: trying float weights in 8 bits", 0, 1)
    smaller = trial(mix.kept, 8)
    bits = 8 if smaller.reaches(conversion.target_db) else 16
    if bits == 8:
        mix = replace(mix, score=smaller)
    model = _mixed(denoiser, conversion, layers, ranges, mix.kept, bits)
    made, floats = _between({**models, "denoiser": model}, conversion, models)
    stored = bits if bits == 8 or conversion.half or conversion.weights == "arithmetic" else 32
    return made, {
        "mix": {**asdict(mix), "float_weight_bits": stored},
        "int8": _int8(Graph(denoiser), conversion, mix.kept),
        "bytes": {"fp32": total_bytes(denoiser), "now": total_bytes(made["denoiser"])},
        "ledger": asdict(used[0]) if used else None,
        **floats,
        "summary": [*sentences.of_mix(mix, stored), *floats.get("summary", [])],
    }


def _mixed(
    denoiser: onnx.ModelProto,
    conversion: Conversion,
    layers: Mapping[str, Layer],
    ranges: Mapping[str, Range],
    kept: Collection[str],
    bits: int,
) -> onnx.ModelProto:
    """INT8 but for the layers `kept`; float weights in 8 bits, or as narrow as floats may be here."""
    names = layers.keys() - set(kept)
    model = quantize(denoiser, ranges, QDQ_STYLES[conversion.style], names=names)
    if bits == 8:
        exact = tuple(layers[name].weight for name in kept)
        options = WeightOptions(encoding=conversion.weights, half_scales=conversion.half, keep=exact)
        model = quantize_weights(model, 8, options)[0]
    # Casts would be done when an .ort file is made, which then is FP32.
    return store_halves(model) if conversion.weights == "arithmetic" and not conversion.half else model


def ledger_of(denoiser: onnx.ModelProto, conversion: Conversion) -> Ledger:
    """Measure the ledger of a denoiser for the engine and the ranges of a conversion."""
    per_edit = conversion.options.steps_per_edit
    samples = choose_samples(conversion.followed().samples["denoiser"], LEDGER_SAMPLES, per_edit)
    entries, together = measure_sensitivity(
        denoiser,
        conversion.ranges(denoiser),
        QDQ_STYLES[conversion.style],
        samples,
        lambda done, total: conversion.say("ledger: quantizing one layer at a time", done, total),
    )
    assert conversion.recording is not None
    return Ledger(
        weights_sha256=conversion.recording.recipe["weights_sha256"],
        observer=conversion.observer,
        style=conversion.style,
        samples=len(samples),
        together=together,
        entries=entries,
    )


def to_half(models: Models, conversion: Conversion) -> tuple[Models, Report]:
    """All three graphs in FP16, but for what float16 cannot hold on the inputs that were seen."""
    sizes = conversion.sizes(models)
    made = {name: to_fp16(model, sizes[name]) for name, model in models.items()}
    return _apart(made, sentences.of_halves)


def to_8_bit_weights(models: Models, conversion: Conversion) -> tuple[Models, Report]:
    """Store large weights of all three graphs in 8 bits; they become floats when the bundle is loaded."""
    return _small_weights(models, conversion, 8)


def to_4_bit_weights(models: Models, conversion: Conversion) -> tuple[Models, Report]:
    """Store large weights of all three graphs in 4 bits."""
    return _small_weights(models, conversion, 4)


def _small_weights(models: Models, conversion: Conversion, bits: Literal[8, 4]) -> tuple[Models, Report]:
    options = WeightOptions(encoding=conversion.weights)
    made = {name: quantize_weights(model, bits, options) for name, model in models.items()}
    return _apart(made, sentences.of_weights)


def _apart(
    made: Mapping[str, tuple[onnx.ModelProto, Any]], say: Callable[[str, Any], str]
) -> tuple[Models, Report]:
    graphs = {name: model for name, (model, _) in made.items()}
    reports = {name: report for name, (_, report) in made.items()}
    return graphs, {
        "graphs": {name: report.to_json() for name, report in reports.items()},
        "summary": [say(name, report) for name, report in reports.items()],
    }


def convert(
    models: Mapping[str, onnx.ModelProto], precision: str, conversion: Conversion
) -> tuple[Models, Report]:
    """Make the graphs of a precision of FP32 ones, and report what was done.

    Raises ExportError or CalibrationError when something is missing or a target is out of reach.
    """
    made, report = _converted(dict(models), precision, conversion)
    if conversion.autoencoder is None:
        return made, report
    others = {name: model for name, model in models.items() if name != "denoiser"}
    smaller, done = _converted(others, conversion.autoencoder, conversion)
    summary = [*report.get("summary", []), *done.get("summary", [])]
    return {**made, **smaller}, {**report, **done, "summary": summary}


def _converted(models: Models, precision: str, conversion: Conversion) -> tuple[Models, Report]:
    function = PRECISIONS[precision].convert
    if function is None:
        raise ExportError(f"{precision} is made by a target, of other graphs; choose another precision")
    made: tuple[Models, Report] = load(function)(models, conversion)
    return made
