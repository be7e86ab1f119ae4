"""What a bundle says of itself: the graphs' inputs and outputs, the self-test capsule and the manifest."""

import platform
from collections.abc import Mapping
from dataclasses import asdict, fields
from importlib import metadata

import numpy as np
import torch

from moebius_edge import __version__
from moebius_edge.bundle.manifest import (
    Defaults,
    GraphSpec,
    Manifest,
    ModelInfo,
    SchedulerSpec,
    TensorSpec,
    io_shapes,
)
from moebius_edge.calibration.precisions import PRECISIONS
from moebius_edge.checking import capsule
from moebius_edge.checkpoints.load import Checkpoint, fingerprint, parameter_count
from moebius_edge.common.samples import capsule_photo
from moebius_edge.export.options import ExportOptions
from moebius_edge.export.targets.registry import Target
from moebius_edge.inpaint.options import InpaintOptions
from moebius_edge.inpaint.solvers.ddim import DDIM
from moebius_edge.inpaint.solvers.protocol import make_schedule
from moebius_edge.runtimes.torch import TorchRuntime

CAPSULE = "capsule.safetensors"
TOOLS = ("torch", "diffusers", "onnx", "onnxscript", "onnxsim")


def graph_specs(checkpoint: Checkpoint, macs: Mapping[str, int]) -> dict[str, GraphSpec]:
    """What the manifest says of the graphs; inputs and outputs are float32 in every precision.

    `macs`: multiply-accumulates of those that were counted.
    """
    shapes = io_shapes(resolution_of(checkpoint), checkpoint.config.latent_size)
    return {
        name: GraphSpec(
            file=f"{name}.onnx",
            inputs=tuple(TensorSpec(key, "float32", shape) for key, shape in shapes[name]["inputs"].items()),
            outputs=tuple(
                TensorSpec(key, "float32", shape) for key, shape in shapes[name]["outputs"].items()
            ),
            macs=macs.get(name),
        )
        for name in shapes
    }


def resolution_of(checkpoint: Checkpoint) -> int:
    """Pixels on a side of the pictures that the model works on."""
    return checkpoint.config.latent_size * checkpoint.vae_config.downscale


def record_capsule(checkpoint: Checkpoint) -> dict[str, np.ndarray]:
    """The self-test: one edit by the FP32 reference."""
    resolution = resolution_of(checkpoint)
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
            # Not the checkpoint's own default: at 1 the unconditional branch would not count.
            guidance=InpaintOptions().guidance,
        )
    finally:
        torch.set_num_threads(threads)


def _defaults(checkpoint: Checkpoint) -> Defaults:
    options = InpaintOptions(guidance=checkpoint.guidance)
    return Defaults(**{field.name: getattr(options, field.name) for field in fields(Defaults)})


def describe(
    checkpoint: Checkpoint,
    target: Target,
    options: ExportOptions,
    graphs: dict[str, GraphSpec],
    made_by: Mapping[str, str],
) -> Manifest:
    """The manifest, but for the list of files; `made_by`: versions of tools that no table names."""
    defaults, solver = _defaults(checkpoint), DDIM()
    schedule = make_schedule(solver, defaults.steps, defaults.strength)
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
        resolution=resolution_of(checkpoint),
        latent_size=checkpoint.config.latent_size,
        graphs=graphs,
        scheduler=SchedulerSpec(
            **asdict(solver.noise), solver=solver.name, coefficients=schedule.steps, start=schedule.start
        ),
        defaults=defaults,
        capsule=CAPSULE,
        settings=options.all_settings(),
        tools={
            "moebius-edge": __version__,
            "python": platform.python_version(),
            **{
                tool: metadata.version(tool)
                for tool in (*TOOLS, *target.tools, *PRECISIONS[options.graph_precision].tools)
            },
            **made_by,
        },
    )
