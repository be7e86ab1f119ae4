"""Make the three FP32 graphs of a checkpoint, in memory."""

from collections.abc import Sequence

import onnx
import torch
from torch import nn

from moebius_edge.bundle.manifest import GRAPH_NAMES, io_shapes
from moebius_edge.checkpoints.checkpoint import Checkpoint
from moebius_edge.common.memory import trim_memory
from moebius_edge.common.progress import Stage
from moebius_edge.export.onnx.graph import ComponentSpec, to_onnx
from moebius_edge.export.onnx.graph_specs import resolution_of
from moebius_edge.export.rewrites.autoencoder import DeployDecoder, DeployEncoder
from moebius_edge.export.rewrites.deploy import DeployDenoiser
from moebius_edge.export.rewrites.forms import Forms
from moebius_edge.model.graphs import build_graphs

STAGES = 6  # of an export's progress; the graphs are the first three


def fp32_graphs(
    checkpoint: Checkpoint,
    forms: Forms,
    kind: str = "deploy",
    progress: Stage | None = None,
    names: Sequence[str] = GRAPH_NAMES,
) -> dict[str, onnx.ModelProto]:
    """Return the three FP32 graphs, or those of `names`, by name, with their weights inside.

    `kind`: "deploy", rewritten in `forms`, or "direct", the reference's own modules.
    """
    models = {}
    for done, name in enumerate(names):
        if progress is not None:
            progress(f"exporting the {name}", done, STAGES)
        models[name] = _graph(name, checkpoint, forms, kind)
        trim_memory()  # making the full-size denoiser leaves 4 GB behind
    return models


def _graph(name: str, checkpoint: Checkpoint, forms: Forms, kind: str) -> onnx.ModelProto:
    shapes = io_shapes(resolution_of(checkpoint), checkpoint.config.latent_size)[name]
    generator = torch.Generator().manual_seed(0)
    inputs = {key: torch.rand(shape, generator=generator) for key, shape in shapes["inputs"].items()}
    module = build_module(name, checkpoint, forms, kind)
    spec = ComponentSpec(name, module, inputs, tuple(shapes["outputs"]))
    return to_onnx(spec, simplify=kind == "deploy")


def build_module(name: str, checkpoint: Checkpoint, forms: Forms, kind: str = "deploy") -> nn.Module:
    """Return one of the three graphs as a module; it may share weights with the checkpoint.

    `kind`: "deploy" or "direct", as in `fp32_graphs`.
    """
    if kind == "direct":
        return build_graphs(checkpoint.model, checkpoint.vae)[name]
    with torch.no_grad():
        if name == "denoiser":
            return DeployDenoiser(checkpoint.model, forms).eval()
        encoder = name == "encoder"
        return (DeployEncoder(checkpoint.vae) if encoder else DeployDecoder(checkpoint.vae, forms)).eval()
