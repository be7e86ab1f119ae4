"""Write an ONNX graph as an .mlpackage, the same bytes every time.

A package is a folder: Manifest.json, and in Data/com.apple.CoreML the program (model.mlmodel, a protobuf) and
its weights (weights/weight.bin). It is written here by hand, because coremltools puts the date and random
identifiers into it.
"""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx

from moebius_edge import __version__
from moebius_edge.bundle.manifest import GraphSpec
from moebius_edge.checkpoints.checkpoint import Checkpoint
from moebius_edge.common.errors import ExportError
from moebius_edge.common.silence import silenced_coremltools
from moebius_edge.export.options import ExportOptions
from moebius_edge.export.targets.coreml import arithmetic, gather, norms, products, quantization, shapes  # noqa: F401
from moebius_edge.export.targets.coreml.compression import Compression, compression
from moebius_edge.export.targets.coreml.lowering import lower
from moebius_edge.export.targets.coreml.tools import ct
from moebius_edge.onnx_tools.external_data import remove
from moebius_edge.runtimes import mlpackage

# Left out of coremltools' pipeline: it makes a batch norm of x * a + b and adds its epsilon of 1e-5, which
# turns roundings of quantized values.
LEFT_OUT = ("common::fuse_elementwise_to_batchnorm",)

WEIGHT_FILE = "weight.bin"
DATE = "com.github.apple.coremltools.conversion_date"

# What Xcode shows: of the graphs, and of their inputs and outputs.
GRAPHS = {
    "encoder": "Picture to latents",
    "denoiser": "One guided step of the loop: the noise in the latents",
    "decoder": "Latents to picture",
}
FEATURES = {
    "encoder.image": "The picture with its hole, -1 to 1",
    "encoder.mean": "Mean of the latents, scaled",
    "encoder.std": "Standard deviation of the latents, scaled",
    "denoiser.latents": "The latents of this step",
    "denoiser.mask": "1 where something is to be painted, at the size of the latents",
    "denoiser.masked_latents": "Latents of the picture with its hole",
    "denoiser.timestep": "0 to 999, as in the manifest's coefficients",
    "denoiser.guidance": "How far the condition is followed; 1: as it is",
    "denoiser.noise": "u + guidance (c - u)",
    "decoder.latents": "The latents after the last step",
    "decoder.image": "The picture, 0 to 1",
}


def ship(
    folder: Path, graphs: dict[str, GraphSpec], options: ExportOptions, checkpoint: Checkpoint
) -> dict[str, GraphSpec]:
    """Replace the .onnx files of `graphs` in `folder` by .mlpackage folders.

    Returns the graphs with the new names. Raises ExportError for what Core ML cannot express.
    """
    deployment = options.all_settings()["deployment"]
    shipped = {}
    for name, graph in graphs.items():
        source, made = folder / graph.file, folder / f"{name}.mlpackage"
        smaller = compression(options.precision, name)
        program = to_program(onnx.load(source), deployment, smaller)
        spec = program.get_spec()
        _describe(spec, name, options.precision, checkpoint)
        save(spec, Path(program.weights_dir), made)
        remove(source)
        shipped[name] = replace(graph, file=made.name)
    return shipped


def to_program(model: onnx.ModelProto, deployment: str = "iOS17", smaller: Compression | None = None) -> Any:
    """Convert a graph to an ML program in memory, a coremltools model.

    `deployment`: the oldest system it is for, as coremltools names it; `smaller`: a compression of the
    weights. Raises ExportError for what Core ML cannot express.
    """
    target = ct.target[deployment]
    pipeline = ct.PassPipeline.DEFAULT
    pipeline.remove_passes(LEFT_OUT)
    if smaller is not None:
        smaller.add_to(pipeline)
    program = lower(model, target)
    try:
        with silenced_coremltools():
            return ct.convert(
                program,
                convert_to="mlprogram",
                minimum_deployment_target=target,
                compute_precision=ct.precision.FLOAT32,  # as the graph has it: calibration decides on FP16
                pass_pipeline=pipeline,
                skip_model_load=True,
            )
    except (ValueError, NotImplementedError, RuntimeError) as error:
        raise ExportError(f"coremltools cannot make an ML program of this graph: {error}") from error


def save(spec: Any, weights: Path, path: Path) -> None:
    """Write the package `path`, a folder that does not exist yet; `weights`: the folder of its weights."""
    (path / mlpackage.WEIGHTS).mkdir(parents=True)
    (path / mlpackage.MODEL).write_bytes(spec.SerializeToString(deterministic=True))
    if (weights / WEIGHT_FILE).is_file():  # small programs have none
        shutil.copyfile(weights / WEIGHT_FILE, path / mlpackage.WEIGHTS / WEIGHT_FILE)
    (path / mlpackage.NAME).write_bytes(mlpackage.manifest())


def _describe(spec: Any, graph: str, precision: str, checkpoint: Checkpoint) -> None:
    description = spec.description
    description.metadata.shortDescription = (
        f"{GRAPHS[graph]}. Moebius image inpainting, {checkpoint.name}, {precision}"
    )
    description.metadata.author = f"moebius-edge; weights: {checkpoint.source}"
    description.metadata.license = checkpoint.license
    description.metadata.versionString = __version__
    description.metadata.userDefined.pop(DATE, None)
    for feature in (*description.input, *description.output):
        feature.shortDescription = FEATURES[f"{graph}.{feature.name}"]
