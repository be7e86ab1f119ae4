"""Run FP32 graphs on real trajectories and record the activations of their layers."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import onnx

from moebius_edge import __version__
from moebius_edge.calibration.activations.collect import collect
from moebius_edge.calibration.activations.data import (
    CalibrationOptions,
    Followed,
    Pair,
    Sample,
    edits,
    packaged_photos,
    trajectories,
)
from moebius_edge.calibration.activations.recording import Recording, site_tensors
from moebius_edge.common.errors import CalibrationError
from moebius_edge.common.memory import trim_memory
from moebius_edge.common.progress import Stage
from moebius_edge.common.tensors import Array
from moebius_edge.onnx_tools.sessions import engine_errors, open_session, session_options
from moebius_edge.photos.reading import photo_files
from moebius_edge.runtimes.onnxruntime import spare_memory


class GraphRuntime:
    """A runtime for three graphs in memory, run by ONNX Runtime: the FP32 loop that calibration follows."""

    name = "onnxruntime"

    def __init__(self, models: Mapping[str, onnx.ModelProto]) -> None:
        self.models, self.sessions = dict(models), dict[str, Any]()

    def run(self, graph: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Evaluate one graph, opening its session at first use, and return its outputs by name."""
        if graph not in self.sessions:
            options = session_options()
            spare_memory(graph, options)
            self.sessions[graph] = open_session(self.models[graph], options)
        session = self.sessions[graph]
        names = [output.name for output in session.get_outputs()]
        with engine_errors(f"ONNX Runtime cannot run the {graph}"):
            return dict(zip(names, session.run(names, dict(inputs)), strict=True))

    def release(self, graph: str) -> None:
        """Free the graph's session."""
        self.sessions.pop(graph, None)

    def replace(self, graph: str, model: onnx.ModelProto) -> None:
        """Run another model as this graph from now on; the others' sessions stay open."""
        self.release(graph)
        self.models[graph] = model


def draw_pairs(images: Path | None, side: int, options: CalibrationOptions) -> list[Pair]:
    """Return photos [side,side,3] with masks [side,side] to calibrate on.

    `images`: a folder of photos; None means the photos of the package. Raises CalibrationError when the
    photos cannot be used.
    """
    return list(edits(photo_files(images or packaged_photos(), CalibrationError), side, options))


def follow(
    models: Mapping[str, onnx.ModelProto],
    pairs: Sequence[Pair],
    options: CalibrationOptions,
    say: Stage | None = None,
) -> Followed:
    """Run the FP32 loop over photos with holes; return what went into each graph and what was painted.

    `models`: encoder, denoiser and decoder in FP32; `pairs`: of `draw_pairs`, of the encoder's side.
    """
    tell = say or (lambda what, done, total: None)
    trim_memory()  # what making the graphs has left
    seen = trajectories(
        GraphRuntime(models),
        pairs,
        sides(models)[1],
        options,
        lambda done, total: tell("calibrating: following the FP32 loop", done, total),
    )
    trim_memory()  # the three sessions
    return seen


def record(
    denoiser: onnx.ModelProto,
    samples: Sequence[Sample],
    weights_sha256: str,
    options: CalibrationOptions,
    *,
    say: Stage | None = None,
) -> Recording:
    """Record the activations of an FP32 denoiser's layers on inputs that `follow` saw.

    `weights_sha256` goes into the recording, which then fits only a model of these weights. Raises
    CalibrationError when the model overflows on the samples or has no layer that can be quantized.
    """
    tell = say or (lambda what, done, total: None)
    sites = site_tensors(denoiser)
    if not sites:
        raise CalibrationError("the denoiser has no layer that can be quantized")
    histograms = collect(
        denoiser,
        samples,
        sites.values(),
        progress=lambda done, total: tell("calibrating: counting activations", done, total),
    )
    recipe = {
        "weights_sha256": weights_sha256,
        "samples": len(samples),
        "options": asdict(options),
        "tools": {"moebius-edge": __version__, **{t: metadata.version(t) for t in ("onnx", "onnxruntime")}},
    }
    return Recording(recipe, {site: histograms[tensor] for site, tensor in sites.items()})


def sides(models: Mapping[str, onnx.ModelProto]) -> tuple[int, int]:
    """Return the side of the pictures in pixels and the side of the latents, read from the graphs' inputs."""
    of_picture, of_latents = (
        int(models[name].graph.input[0].type.tensor_type.shape.dim[-1].dim_value)
        for name in ("encoder", "denoiser")
    )
    return of_picture, of_latents
