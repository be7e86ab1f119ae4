"""Export a checkpoint as a bundle: the three graphs, the manifest and the self-test capsule, atomically."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import onnx

from moebius_edge.bundle.folder import Bundle, seal, staging
from moebius_edge.bundle.manifest import GraphSpec
from moebius_edge.calibration import sentences
from moebius_edge.calibration.activations.calibrate import draw_pairs, follow, record
from moebius_edge.calibration.activations.data import Pair
from moebius_edge.calibration.activations.recording import Recording
from moebius_edge.calibration.int8.coverage import coverage
from moebius_edge.calibration.int8.sensitivity import Ledger
from moebius_edge.calibration.precisions import Conversion, convert, ledger_of
from moebius_edge.checkpoints.checkpoint import Checkpoint, weights_sha256
from moebius_edge.common import strictjson
from moebius_edge.common.progress import Stage
from moebius_edge.common.tensors import write_tensors
from moebius_edge.export.manifest import check_defaults, make_manifest
from moebius_edge.export.onnx import graphs
from moebius_edge.export.onnx.graph_specs import graph_specs, resolution_of
from moebius_edge.export.onnx.graphs import STAGES
from moebius_edge.export.options import ExportOptions, check_used
from moebius_edge.export.rewrites.forms import CPU_INT8
from moebius_edge.export.self_test import CAPSULE, record_capsule
from moebius_edge.export.targets.registry import find_target, load_part, require_ready
from moebius_edge.onnx_tools.external_data import save
from moebius_edge.onnx_tools.macs import count_macs
from moebius_edge.precisions import PRECISIONS, having

REPORT = "precision.json"  # what the conversion did; not for FP32


@dataclass(frozen=True)
class Evidence:
    """What is known of how a model's layers behave before its graphs are made."""

    recording: Recording | None = None  # of `record_ranges`
    ledger: Ledger | None = None  # of `measure_ledger`
    pairs: Sequence[Pair] = ()  # photos with holes whose loop is to be followed

    def require(self, weights_sha256: str, options: ExportOptions) -> None:
        """Raise CalibrationError unless everything was measured on these weights and fits `options`."""
        if self.recording is not None:
            self.recording.require(weights_sha256)
        if self.ledger is not None:
            self.ledger.require(weights_sha256, options.observer, find_target(options.target).qdq)


def export_bundle(
    checkpoint: Checkpoint,
    output: Path,
    options: ExportOptions = ExportOptions(),
    *,
    overwrite: bool = False,
    artifacts: bool = True,
    recording: Recording | None = None,
    ledger: Ledger | None = None,
    progress: Stage | None = None,
) -> Bundle:
    """Write the bundle folder `output` and open it.

    `recording`: of `record_ranges`; `ledger`: of `measure_ledger`; None: made now where the precision needs
    one. With `artifacts` False, the target's ONNX graphs stay as they are and the bundle is for ONNX Runtime.
    That is for comparisons and, where the target has a kit, for making the artifacts on another machine.

    Raises ExportError when `output` exists (and not `overwrite`) or cannot be written, or something is given
    that the precision does not use. Raises CalibrationError for a recording or ledger of other weights,
    photos that cannot be used, and a target that is out of reach. After an error nothing is left.

    >>> from pathlib import Path
    >>> from moebius_edge import export_bundle, load_checkpoint
    >>> checkpoint = load_checkpoint("small")  # a folder, or a name: "nano"
    >>> bundle = export_bundle(checkpoint, Path("new.moebius"))  # ExportOptions(): fp32, for ONNX Runtime
    >>> bundle.manifest.precision, sorted(bundle.manifest.graphs), bundle.manifest.resolution
    ('fp32', ['decoder', 'denoiser', 'encoder'], 64)
    >>> export_bundle(checkpoint, Path("new.moebius"))
    Traceback (most recent call last):
    moebius_edge.common.errors.ExportError: ...new.moebius already exists; ...
    """
    say = progress or (lambda what, done, total: None)
    target = find_target(options.target)
    check_used(options, recording=recording is not None, ledger=ledger is not None)
    check_defaults(checkpoint, options)
    # Photos come first: one that cannot be used is found before the graphs take minutes.
    require_ready(target, options.all_settings(), not artifacts)
    evidence = Evidence(recording, ledger, _pairs(checkpoint, options, recording))
    evidence.require(weights_sha256(checkpoint), options)
    with staging(output, overwrite=overwrite) as folder:
        specs = _write_graphs(folder, checkpoint, options, evidence, say)
        if target.kit is not None and not artifacts:
            load_part(target, target.kit)(folder, specs)
        if target.ship is not None and artifacts:
            say(f"writing the files of {target.name}", 3, STAGES)
            specs = load_part(target, target.ship)(folder, specs, options, checkpoint)
        say("recording the self-test with the FP32 reference", 4, STAGES)
        write_tensors(folder / CAPSULE, record_capsule(checkpoint))
        say("hashing", 5, STAGES)
        made_by = load_part(target, target.made_by)() if target.made_by and artifacts else {}
        manifest = make_manifest(checkpoint, options, specs, made_by)
        seal(folder, manifest if artifacts else replace(manifest, runtime="onnxruntime"))
    say("done", STAGES, STAGES)
    return Bundle.open(output)


def _pairs(checkpoint: Checkpoint, options: ExportOptions, recording: Recording | None) -> Sequence[Pair]:
    if not PRECISIONS[options.graph_precision].follows(recorded=recording is not None, halves=options.halves):
        return ()
    return draw_pairs(options.images, resolution_of(checkpoint), options.calibration)


def _write_graphs(
    folder: Path, checkpoint: Checkpoint, options: ExportOptions, evidence: Evidence, say: Stage
) -> dict[str, GraphSpec]:
    """Write the three .onnx files and the conversion's report; return the graphs as the manifest has them."""
    target, precision = find_target(options.target), PRECISIONS[options.graph_precision]
    forms = target.quantized_forms if precision.calibrated else target.forms
    models = graphs.fp32_graphs(checkpoint, forms, options.graph, say)
    macs = {name: count_macs(model) for name, model in models.items()}
    conversion = _conversion(checkpoint, models, options, evidence, say)
    say("converting", 3, STAGES)
    converted, report = convert(models, options.graph_precision, conversion)
    for name, model in converted.items():
        save(model, folder / f"{name}.onnx")
    if precision.calibrated and target.runtime == "onnxruntime":
        found = coverage(models["denoiser"], folder / "denoiser.onnx")
        report |= {
            "coverage": asdict(found),
            "summary": [sentences.of_coverage(found), *report.get("summary", [])],
        }
    if report:
        (folder / REPORT).write_bytes(strictjson.dumps(report))
    return graph_specs(checkpoint, macs)


def record_ranges(checkpoint: Checkpoint, options: ExportOptions, progress: Stage | None = None) -> Recording:
    """Calibrate without exporting; the recording fits every target and precision of the same weights.

    Raises CalibrationError for photos that cannot be used and a model that overflows on them.
    """
    say = progress or (lambda what, done, total: None)
    pairs = draw_pairs(options.images, resolution_of(checkpoint), options.calibration)
    models = graphs.fp32_graphs(checkpoint, CPU_INT8, progress=say)
    samples = follow(models, pairs, options.calibration, say).samples["denoiser"]
    return record(models["denoiser"], samples, weights_sha256(checkpoint), options.calibration, say=say)


def measure_ledger(
    checkpoint: Checkpoint,
    options: ExportOptions,
    recording: Recording | None = None,
    progress: Stage | None = None,
) -> Ledger:
    """Measure what quantizing each layer alone costs, for the engine of `options.target`.

    `recording`: of `record_ranges`; None: calibrates first. Raises CalibrationError for a recording of other
    weights and photos that cannot be used.
    """
    say = progress or (lambda what, done, total: None)
    options = replace(options, precision=having("searched")[0])
    evidence = Evidence(recording, None, _pairs(checkpoint, options, recording))
    evidence.require(weights_sha256(checkpoint), options)
    target = find_target(options.target)
    models = graphs.fp32_graphs(checkpoint, target.quantized_forms, progress=say)
    return ledger_of(models["denoiser"], _conversion(checkpoint, models, options, evidence, say))


def _conversion(
    checkpoint: Checkpoint,
    models: dict[str, onnx.ModelProto],
    options: ExportOptions,
    evidence: Evidence,
    say: Stage,
) -> Conversion:
    """Gather what the precision needs besides the graphs; follow the FP32 loop once, for all that need it."""
    calibration, recording = options.calibration, evidence.recording
    seen = follow(models, evidence.pairs, calibration, say) if evidence.pairs else None
    if PRECISIONS[options.graph_precision].calibrated and recording is None and seen is not None:
        samples = seen.samples["denoiser"]
        recording = record(models["denoiser"], samples, weights_sha256(checkpoint), calibration, say=say)
    return Conversion(
        style=find_target(options.target).qdq,
        observer=options.observer,
        weights=find_target(options.target).weights,
        half=options.half,
        autoencoder=options.autoencoder,
        options=calibration,
        recording=recording,
        seen=seen,
        ledger=evidence.ledger,
        target_db=options.target_db,
        say=say,
    )
