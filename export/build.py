"""Checkpoint -> bundle: the three graphs, the manifest and the self-test capsule, whole or not at all."""

import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
from torch import nn

from moebius_edge import __version__, capsule
from moebius_edge.bundle import Bundle, seal, staging
from moebius_edge.checkpoints import Checkpoint, fingerprint, parameter_count
from moebius_edge.errors import ExportError
from moebius_edge.export.autoencoder import DeployDecoder, DeployEncoder
from moebius_edge.export.deploy import DeployDenoiser
from moebius_edge.export.forms import Forms
from moebius_edge.export.onnx_graph import ComponentSpec, count_macs, save, to_onnx
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

CAPSULE = "capsule.safetensors"
GRAPH_KINDS = ("deploy", "direct")
TOOLS = ("torch", "diffusers", "onnx", "onnxscript", "onnxsim")


@dataclass(frozen=True)
class ExportOptions:
    """What to make of a checkpoint. Raises ExportError for what is not known."""

    target: str = "ort"  # a name of `TARGETS`
    precision: str = "fp32"  # one of the target's precisions
    graph: str = "deploy"  # "deploy": the exact rewrites; "direct": the plain export, for comparison

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


def export_bundle(
    checkpoint: Checkpoint,
    output: Path,
    options: ExportOptions = ExportOptions(),
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Bundle:
    """Write the bundle folder `output` and open it again.

    Raises ExportError when `output` exists (and not `overwrite`) or cannot be written; then nothing is left.
    """
    say = progress or (lambda what, done, total: None)
    target = TARGETS[options.target]
    total = 5
    with staging(output, overwrite=overwrite) as folder:
        graphs = {}
        for done, (name, module) in enumerate(_modules(checkpoint, target.forms, options.graph).items()):
            say(f"exporting the {name}", done, total)
            graphs[name] = _export_graph(name, module, checkpoint, folder, options.graph == "deploy")
        say("recording the self-test with the FP32 reference", 3, total)
        write_tensors(folder / CAPSULE, _capsule(checkpoint))
        say("hashing", 4, total)
        seal(folder, _manifest(checkpoint, target, options, graphs))
    say("done", total, total)
    return Bundle.open(output)


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


def _export_graph(
    name: str, module: nn.Module, checkpoint: Checkpoint, folder: Path, simplify: bool
) -> GraphSpec:
    """Write one graph into `folder` and describe it."""
    shapes = io_shapes(_resolution(checkpoint), checkpoint.config.latent_size)[name]
    generator = torch.Generator().manual_seed(0)
    inputs = {key: torch.rand(shape, generator=generator) for key, shape in shapes["inputs"].items()}
    model = to_onnx(ComponentSpec(name, module, inputs, tuple(shapes["outputs"])), simplify=simplify)
    save(model, folder / f"{name}.onnx")
    return GraphSpec(
        file=f"{name}.onnx",
        inputs=tuple(TensorSpec(key, "float32", shape) for key, shape in shapes["inputs"].items()),
        outputs=tuple(TensorSpec(key, "float32", shape) for key, shape in shapes["outputs"].items()),
        macs=count_macs(model),
    )


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
            **{tool: metadata.version(tool) for tool in TOOLS},
        },
    )
