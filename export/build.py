"""Checkpoint -> bundle: the three graphs, the manifest and the self-test capsule, whole or not at all."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import onnx
import torch
from torch import nn

from moebius_edge import strictjson
from moebius_edge.bundle import Bundle, seal, staging
from moebius_edge.calibration.calibrate import follow, record
from moebius_edge.calibration.coverage import coverage
from moebius_edge.calibration.data import CalibrationOptions, photo_files
from moebius_edge.calibration.macs import count_macs
from moebius_edge.calibration.mixed import check_target
from moebius_edge.calibration.observers import OBSERVERS
from moebius_edge.calibration.recording import Recording
from moebius_edge.calibration.sensitivity import Ledger
from moebius_edge.checkpoints import Checkpoint, fingerprint
from moebius_edge.errors import ExportError
from moebius_edge.export.autoencoder import DeployDecoder, DeployEncoder
from moebius_edge.export.deploy import DeployDenoiser
from moebius_edge.export.describe import CAPSULE, describe, graph_specs, record_capsule, resolution_of
from moebius_edge.export.forms import Forms
from moebius_edge.export.onnx_graph import ComponentSpec, save, to_onnx
from moebius_edge.export.ort_mobile import ship
from moebius_edge.export.precisions import PRECISIONS, Conversion, convert, ledger_of
from moebius_edge.export.targets import TARGETS
from moebius_edge.manifest import GRAPH_NAMES, io_shapes
from moebius_edge.model.graphs import build_graphs
from moebius_edge.tensors import write_tensors

Progress = Callable[[str, int, int], None]  # (what is being done, how many things are done, of how many)

STAGES = 6  # of the progress
REPORT = "precision.json"  # what the conversion did; not for FP32
GRAPH_KINDS = ("deploy", "direct")


@dataclass(frozen=True)
class ExportOptions:
    """What to make of a checkpoint. Raises ExportError for what is not known."""

    target: str = "ort"  # a name of `TARGETS`
    precision: str = "fp32"  # one of the target's precisions
    graph: str = "deploy"  # "deploy": the exact rewrites; "direct": the plain export, for comparison
    observer: str = "mse"  # how ranges are read off what calibration saw: a name of `OBSERVERS`
    calibration: CalibrationOptions = field(default_factory=CalibrationOptions)  # run without a recording
    images: Path | None = None  # photos to calibrate with; None: those in the package
    target_db: float = 40.0  # of mixed precision: finished pictures against FP32's

    def __post_init__(self) -> None:
        if self.target not in TARGETS:
            raise ExportError(f"there is no target {self.target!r}; targets are {', '.join(TARGETS)}")
        known = TARGETS[self.target].precisions
        if self.precision not in known:
            raise ExportError(
                f"the target {self.target} has no precision {self.precision!r}; it has {', '.join(known)}"
            )
        if self.graph not in GRAPH_KINDS:
            raise ExportError(f"graph is {self.graph!r}; expected {' or '.join(GRAPH_KINDS)}")
        if self.graph == "direct" and self.precision != "fp32":
            raise ExportError(f"direct graphs are there to compare with, in fp32; not in {self.precision}")
        if self.observer not in OBSERVERS:
            raise ExportError(f"there is no observer {self.observer!r}; observers are {', '.join(OBSERVERS)}")
        check_target(self.target_db)
        if self.images is not None:
            photo_files(self.images)  # raises for a folder without photos, before anything takes time


def export_bundle(
    checkpoint: Checkpoint,
    output: Path,
    options: ExportOptions = ExportOptions(),
    *,
    overwrite: bool = False,
    recording: Recording | None = None,
    ledger: Ledger | None = None,
    progress: Progress | None = None,
) -> Bundle:
    """Write the bundle folder `output` and open it again.

    `recording`: of `record_ranges`; `ledger`: of `measure_ledger`; None: made now where the precision needs
    one. Raises ExportError when `output` exists (and not `overwrite`) or cannot be written, and
    CalibrationError for a recording or ledger of other weights, photos that cannot be used, and a target
    that is out of reach; then nothing is left.
    """
    say = progress or (lambda what, done, total: None)
    target, precision = TARGETS[options.target], PRECISIONS[options.precision]
    if recording is not None:
        recording.require(fingerprint(checkpoint))
    if ledger is not None:
        ledger.require(fingerprint(checkpoint), options.observer, target.qdq)
    with staging(output, overwrite=overwrite) as folder:
        models = fp32_graphs(checkpoint, precision.forms(target.forms), options.graph, say)
        macs = {name: count_macs(model) for name, model in models.items()}
        conversion = replace(_conversion(checkpoint, models, options, recording, say), ledger=ledger)
        say("converting", 3, STAGES)
        converted, report = convert(models, options.precision, conversion)
        for name, model in converted.items():
            save(model, folder / f"{name}.onnx")
        if precision.calibrated and target.runtime == "onnxruntime":
            report["coverage"] = asdict(coverage(models["denoiser"], folder / "denoiser.onnx"))
        if report:
            (folder / REPORT).write_bytes(strictjson.dumps(report))
        del models, converted, conversion
        graphs = graph_specs(checkpoint, macs)
        if target.artifact == "ort":
            graphs = ship(folder, graphs, options.precision)
        say("recording the self-test with the FP32 reference", 4, STAGES)
        write_tensors(folder / CAPSULE, record_capsule(checkpoint))
        say("hashing", 5, STAGES)
        seal(folder, describe(checkpoint, target, options.precision, options.graph, graphs))
    say("done", STAGES, STAGES)
    return Bundle.open(output)


def record_ranges(
    checkpoint: Checkpoint, options: ExportOptions, progress: Progress | None = None
) -> Recording:
    """Calibrate without exporting: the recording fits every target and precision of the same weights."""
    say = progress or (lambda what, done, total: None)
    models = fp32_graphs(checkpoint, Forms(layout="channels_last"), "deploy", say)
    seen = follow(models, options.calibration, images=options.images, say=say)
    return record(
        models["denoiser"], seen.samples["denoiser"], fingerprint(checkpoint), options.calibration, say=say
    )


def measure_ledger(
    checkpoint: Checkpoint,
    options: ExportOptions,
    recording: Recording | None = None,
    progress: Progress | None = None,
) -> Ledger:
    """What quantizing each layer alone costs, for the engine of `options.target`.

    Raises CalibrationError for a recording of other weights and photos that cannot be used.
    """
    say = progress or (lambda what, done, total: None)
    if recording is not None:
        recording.require(fingerprint(checkpoint))
    precision = PRECISIONS["mixed"]
    models = fp32_graphs(checkpoint, precision.forms(TARGETS[options.target].forms), "deploy", say)
    conversion = _conversion(checkpoint, models, replace(options, precision="mixed"), recording, say)
    return ledger_of(models["denoiser"], conversion)


def _conversion(
    checkpoint: Checkpoint,
    models: dict[str, onnx.ModelProto],
    options: ExportOptions,
    recording: Recording | None,
    say: Progress,
) -> Conversion:
    """What the precision needs besides the graphs: the FP32 loop is followed once, for all that need it."""
    precision, calibration = PRECISIONS[options.precision], options.calibration
    seen = None
    if precision.followed or (precision.calibrated and recording is None):
        seen = follow(models, calibration, images=options.images, say=say)
    if precision.calibrated and recording is None and seen is not None:
        samples = seen.samples["denoiser"]
        recording = record(models["denoiser"], samples, fingerprint(checkpoint), calibration, say=say)
    return Conversion(
        style=TARGETS[options.target].qdq,
        observer=options.observer,
        options=calibration,
        recording=recording,
        seen=seen,
        target_db=options.target_db,
        say=say,
    )


def fp32_graphs(
    checkpoint: Checkpoint,
    forms: Forms,
    kind: str = "deploy",
    progress: Progress | None = None,
    names: Sequence[str] = GRAPH_NAMES,
) -> dict[str, onnx.ModelProto]:
    """The three FP32 graphs in memory, or those of `names`."""
    models = {}
    for done, name in enumerate(names):
        module = _module(name, checkpoint, forms, kind)
        if progress is not None:
            progress(f"exporting the {name}", done, STAGES)
        shapes = io_shapes(resolution_of(checkpoint), checkpoint.config.latent_size)[name]
        generator = torch.Generator().manual_seed(0)
        inputs = {key: torch.rand(shape, generator=generator) for key, shape in shapes["inputs"].items()}
        spec = ComponentSpec(name, module, inputs, tuple(shapes["outputs"]))
        models[name] = to_onnx(spec, simplify=kind == "deploy")
    return models


def _module(name: str, checkpoint: Checkpoint, forms: Forms, kind: str) -> nn.Module:
    """One of the three graphs as a module."""
    if kind == "direct":
        return build_graphs(checkpoint.model, checkpoint.vae)[name]
    with torch.no_grad():
        if name == "denoiser":
            return DeployDenoiser(checkpoint.model, forms).eval()
        encoder = name == "encoder"
        return (DeployEncoder(checkpoint.vae) if encoder else DeployDecoder(checkpoint.vae, forms)).eval()
