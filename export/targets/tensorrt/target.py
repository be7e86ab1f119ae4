"""Write the files of a TensorRT bundle: an engine for each graph, and one for the step of the loop."""

import inspect
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import onnx
from onnx import TensorProto, helper

from moebius_edge.bundle.manifest import GraphSpec
from moebius_edge.checkpoints.checkpoint import Checkpoint
from moebius_edge.common.errors import ExportError
from moebius_edge.export.onnx.graph import IR_VERSION, OPSET
from moebius_edge.export.options import ExportOptions
from moebius_edge.export.targets.tensorrt import KIT, builder
from moebius_edge.export.targets.tensorrt.builder import (
    UPDATE,
    BuildError,
    BuildOptions,
    build_engine,
    check,
    find_tensorrt,
)
from moebius_edge.onnx_tools.external_data import remove
from moebius_edge.runtimes.tensorrt import interface_of, update_spec

ON_THE_BOX = "; or export with --build-kit, to build on the box itself"


def ship(
    folder: Path, graphs: dict[str, GraphSpec], options: ExportOptions, checkpoint: Checkpoint
) -> dict[str, GraphSpec]:
    """Replace the .onnx files of `graphs` in `folder` by engines, and add the engine of the step.

    Returns the graphs with the new names. Raises ExportError where TensorRT is missing, or for a node that it
    does not take.
    """
    settings = options.all_settings()
    built = BuildOptions.of(settings)
    try:
        trt = find_tensorrt()
        cache = _timing_cache(trt.__name__, trt.__version__) if settings["timing_cache"] == "yes" else None
        write_update(folder, graphs["denoiser"])
        for name, spec in {**graphs, UPDATE: update_spec(graphs["denoiser"])}.items():
            source = folder / f"{name}.onnx"
            engine, interface = build_engine(trt, source, built, cache)
            if interface != (expected := interface_of(spec)):
                raise ExportError(
                    f"the engine of the {name} has the interface {interface}; expected {expected}: "
                    "TensorRT changed the graph, build with another version"
                )
            (folder / f"{name}.engine").write_bytes(engine)
            remove(source)
    except BuildError as error:
        raise ExportError(f"{error}{ON_THE_BOX}") from error
    return {name: replace(graph, file=f"{name}.engine") for name, graph in graphs.items()}


def made_by() -> dict[str, str]:
    """Return the TensorRT package that builds here, and its version."""
    trt = find_tensorrt()
    return {trt.__name__: trt.__version__}


def ready(settings: Mapping[str, str], kit: bool) -> None:
    """Raise ExportError where TensorRT is missing, or does not have what the settings ask for."""
    if kit:
        if settings["timing_cache"] == "yes":
            raise ExportError("a kit takes no timing_cache; give its build.py --timing-cache FILE on the box")
        return
    try:
        check(find_tensorrt(), BuildOptions.of(settings), settings["timing_cache"] == "yes")
    except BuildError as error:
        raise ExportError(f"{error}{ON_THE_BOX}") from error


def kit(folder: Path, graphs: dict[str, GraphSpec]) -> None:
    """Add to a folder with .onnx files what another machine needs to build engines of them."""
    write_update(folder, graphs["denoiser"])
    (folder / KIT).write_text(inspect.getsource(builder))


def write_update(folder: Path, denoiser: GraphSpec) -> None:
    """Write the graph of one row of a solver's table, in float32, so that the latents stay on the device.

    x <- (a x + b ε) + c d and d <- p x + q ε (docs/loop.md, step 10): one graph for every solver.
    """
    spec = update_spec(denoiser)
    terms = ("latents a", "noise b", "estimate c", "latents p", "noise q")
    nodes = [helper.make_node("Mul", term.split(), [term]) for term in terms]
    nodes += [
        helper.make_node("Add", ["latents a", "noise b"], ["sum"]),
        helper.make_node("Add", ["sum", "estimate c"], ["next_latents"]),
        helper.make_node("Add", ["latents p", "noise q"], ["next_estimate"]),
    ]
    inputs, outputs = (
        [helper.make_tensor_value_info(each.name, TensorProto.FLOAT, each.shape) for each in side]
        for side in (spec.inputs, spec.outputs)
    )
    graph = helper.make_graph(nodes, UPDATE, inputs, outputs)
    opsets = [helper.make_opsetid("", OPSET)]
    onnx.save(
        helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION), folder / f"{UPDATE}.onnx"
    )


def _timing_cache(package: str, version: str) -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "moebius-edge" / f"{package}-{version}.timing"
