"""Checkpoint -> bundle: the three graphs, the manifest and the self-test capsule, whole or not at all."""

import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from importlib import metadata
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn

from moebius_edge import __version__, capsule
from moebius_edge.bundle import Bundle, seal, staging
from moebius_edge.calibration.calibrate import calibrate, follow
from moebius_edge.calibration.data import CalibrationOptions
from moebius_edge.calibration.macs import count_macs
from moebius_edge.calibration.observers import OBSERVERS
from moebius_edge.calibration.recording import Recording
from moebius_edge.checkpoints import Checkpoint, fingerprint, parameter_count
from moebius_edge.errors import ExportError
from moebius_edge.export.autoencoder import DeployDecoder, DeployEncoder
from moebius_edge.export.deploy import DeployDenoiser
from moebius_edge.export.forms import Forms
from moebius_edge.export.onnx_graph import ComponentSpec, save, to_onnx
from moebius_edge.export.ort_mobile import ship
from moebius_edge.export.precisions import PRECISIONS, Conversion, convert
from moebius_edge.export.targets import TARGETS, Target
from moebius_edge.manifest import (
    Defaults,
    GraphSpec,
    Manifest,
    ModelInfo,
    SchedulerSpec,
    TensorSpec,
    io_shapes,
)
from moebius_edge.model.graphs import build_graphs
from moebius_edge.options import InpaintOptions
from moebius_edge.runtimes.torch import TorchRuntime
from moebius_edge.samples import capsule_photo
from moebius_edge.scheduler import DDIM, SchedulerConfig
from moebius_edge.tensors import write_tensors

Progress = Callable[[str, int, int], None]  # (what is being done, how many things are done, of how many)

STAGES = 6  # of the progress
CAPSULE = "capsule.safetensors"
GRAPH_KINDS = ("deploy", "direct")
TOOLS = ("torch", "diffusers", "onnx", "onnxscript", "onnxsim")


@dataclass(frozen=True)
class ExportOptions:
    """What to make of a checkpoint. Raises ExportError for what is not known."""

    target: str = "ort"  # a name of `TARGETS`
    precision: str = "fp32"  # one of the target's precisions
    graph: str = "deploy"  # "deploy": the exact rewrites; "direct": the plain export, for comparison
    observer: str = "mse"  # how ranges are read off what calibration saw: a name of `OBSERVERS`
    calibration: CalibrationOptions = field(default_factory=CalibrationOptions)  # run without a recording
    images: Path | None = None  # photos to calibrate with; None: those in the package

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


def export_bundle(
    checkpoint: Checkpoint,
    output: Path,
    options: ExportOptions = ExportOptions(),
    *,
    overwrite: bool = False,
    recording: Recording | None = None,
    progress: Progress | None = None,
) -> Bundle:
    """Write the bundle folder `output` and open it again.

    `recording`: of `record_ranges`; None: made now where the precision needs one. Raises ExportError when
    `output` exists (and not `overwrite`) or cannot be written, and CalibrationError for a recording of other
    weights or photos that cannot be used; then nothing is left.
    """
    say = progress or (lambda what, done, total: None)
    target, precision = TARGETS[options.target], PRECISIONS[options.precision]
    if recording is not None:
        recording.require(fingerprint(checkpoint))
    with staging(output, overwrite=overwrite) as folder:
        models = fp32_graphs(checkpoint, precision.forms(target.forms), options.graph, say)
        if precision.calibrated and recording is None:
            recording = _record(checkpoint, models, options, say)
        inputs = (
            follow(models, options.calibration, images=options.images, say=say) if precision.followed else {}
        )
        macs = {name: count_macs(model) for name, model in models.items()}
        say("converting", 3, STAGES)
        conversion = Conversion(target.qdq, options.observer, recording, inputs)
        for name, model in convert(models, options.precision, conversion).items():
            save(model, folder / f"{name}.onnx")
        del models
        graphs = _graph_specs(checkpoint, macs)
        if target.artifact == "ort":
            graphs = ship(folder, graphs, options.precision)
        say("recording the self-test with the FP32 reference", 4, STAGES)
        write_tensors(folder / CAPSULE, _capsule(checkpoint))
        say("hashing", 5, STAGES)
        seal(folder, _manifest(checkpoint, target, options, graphs))
    say("done", STAGES, STAGES)
    return Bundle.open(output)


def record_ranges(
    checkpoint: Checkpoint, options: ExportOptions, progress: Progress | None = None
) -> Recording:
    """Calibrate without exporting: the recording fits every target and precision of the same weights."""
    say = progress or (lambda what, done, total: None)
    models = fp32_graphs(checkpoint, Forms(layout="channels_last"), "deploy", say)
    return _record(checkpoint, models, options, say)


def _record(
    checkpoint: Checkpoint, models: dict[str, onnx.ModelProto], options: ExportOptions, say: Progress
) -> Recording:
    return calibrate(models, fingerprint(checkpoint), options.calibration, images=options.images, say=say)


def fp32_graphs(
    checkpoint: Checkpoint, forms: Forms, kind: str = "deploy", progress: Progress | None = None
) -> dict[str, onnx.ModelProto]:
    """The three FP32 graphs in memory."""
    models = {}
    for done, (name, module) in enumerate(_modules(checkpoint, forms, kind).items()):
        if progress is not None:
            progress(f"exporting the {name}", done, STAGES)
        shapes = io_shapes(_resolution(checkpoint), checkpoint.config.latent_size)[name]
        generator = torch.Generator().manual_seed(0)
        inputs = {key: torch.rand(shape, generator=generator) for key, shape in shapes["inputs"].items()}
        spec = ComponentSpec(name, module, inputs, tuple(shapes["outputs"]))
        models[name] = to_onnx(spec, simplify=kind == "deploy")
    return models


def _modules(checkpoint: Checkpoint, forms: Forms, kind: str) -> dict[str, nn.Module]:
    """The three graphs as modules, in the order in which they run."""
    if kind == "direct":
        return build_graphs(checkpoint.model, checkpoint.vae)
    with torch.no_grad():
        return {
            "encoder": DeployEncoder(checkpoint.vae).eval(),
            "denoiser": DeployDenoiser(checkpoint.model, forms).eval(),
            "decoder": DeployDecoder(checkpoint.vae, forms).eval(),
        }


def _graph_specs(checkpoint: Checkpoint, macs: dict[str, int]) -> dict[str, GraphSpec]:
    """What the manifest says of the graphs; inputs and outputs are float32 in every precision."""
    shapes = io_shapes(_resolution(checkpoint), checkpoint.config.latent_size)
    return {
        name: GraphSpec(
            file=f"{name}.onnx",
            inputs=tuple(TensorSpec(key, "float32", shape) for key, shape in shapes[name]["inputs"].items()),
            outputs=tuple(
                TensorSpec(key, "float32", shape) for key, shape in shapes[name]["outputs"].items()
            ),
            macs=macs[name],
        )
        for name in shapes
    }


def _resolution(checkpoint: Checkpoint) -> int:
    return checkpoint.config.latent_size * checkpoint.vae_config.downscale


def _capsule(checkpoint: Checkpoint) -> dict[str, np.ndarray]:
    resolution = _resolution(checkpoint)
    photo, mask = capsule_photo(resolution)
    # With several threads torch splits its sums by chance, and the same checkpoint would not always give the
    # same bytes; one thread takes twice as long.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return capsule.record(
            TorchRuntime(checkpoint.model, checkpoint.vae),
            photo,
            mask,
            resolution=resolution,
            latent_size=checkpoint.config.latent_size,
            scheduler=SchedulerConfig(),
            guidance=_defaults().guidance,
        )
    finally:
        torch.set_num_threads(threads)


def _defaults() -> Defaults:
    options = InpaintOptions()
    return Defaults(**{field.name: getattr(options, field.name) for field in fields(Defaults)})


def _manifest(
    checkpoint: Checkpoint, target: Target, options: ExportOptions, graphs: dict[str, GraphSpec]
) -> Manifest:
    defaults, schedule = _defaults(), SchedulerConfig()
    ddim, length = DDIM(schedule), (defaults.steps, defaults.strength)
    return Manifest(
        model=ModelInfo(
            name=checkpoint.name,
            license=checkpoint.license,
            source=checkpoint.source,
            parameters=parameter_count(checkpoint.model),
            config=checkpoint.config,
            vae=checkpoint.vae_config,
            weights_sha256=fingerprint(checkpoint),
        ),
        target=target.name,
        runtime=target.runtime,
        precision=options.precision,
        graph=options.graph,
        resolution=_resolution(checkpoint),
        latent_size=checkpoint.config.latent_size,
        graphs=graphs,
        scheduler=SchedulerSpec(
            **asdict(schedule),
            coefficients=ddim.coefficients(*length),
            start=ddim.start(*length),
        ),
        defaults=defaults,
        capsule=CAPSULE,
        tools={
            "moebius-edge": __version__,
            "python": platform.python_version(),
            **{tool: metadata.version(tool) for tool in (*TOOLS, *target.tools)},
        },
    )
