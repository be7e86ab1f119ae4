"""Convert finished ONNX graphs to .ort files for ONNX Runtime Mobile, and list their operators.

The list says what a reduced build must contain. The engine itself converts: it loads the .onnx file,
optimizes and saves. Files are converted on x86-64 for ARM: no blocked layout (NCHWc) is baked in, and int8
stays int8 (ARM has its dot products; on x86-64 the engine would make it uint8).
"""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import onnxruntime as ort
from onnxruntime.tools.ort_format_model import create_config_from_models

from moebius_edge.bundle.manifest import GraphSpec
from moebius_edge.checkpoints.checkpoint import Checkpoint
from moebius_edge.common.errors import ExportError
from moebius_edge.export.options import ExportOptions
from moebius_edge.export.targets.ort_mobile.ort_format import make_deterministic
from moebius_edge.onnx_tools.external_data import remove
from moebius_edge.onnx_tools.sessions import BLOCKED, engine_errors, session_options
from moebius_edge.precisions import PRECISIONS

CONFIG = "required_operators.config"  # for `--include_ops_by_config` of ONNX Runtime's build

logging.getLogger("ort_format_model.utils").setLevel(logging.WARNING)  # it reports its temporary files


@dataclass(frozen=True)
class OptimizationStyle:
    """When graph optimizations happen: the two styles of the engine's own converter."""

    name: str
    minimal: str | None  # `optimization.minimal_build_optimizations` of the conversion
    also: tuple[str, ...] = ()  # other ways in which a build may run it: their operators are required too


# "Fixed": all optimizations are baked in. Fastest on the CPU; fused operators may be unknown to a device's
# execution provider. "Runtime": basic ones are baked in, others saved as a list that loading replays with
# `session.enable_saved_runtime_optimizations` where no provider took the nodes.
FIXED = OptimizationStyle("Fixed", None)
RUNTIME = OptimizationStyle("Runtime", "save", also=("apply",))


def style_of(precision: str) -> OptimizationStyle:
    """Choose a graph's style: Fixed would make FP32 of FP16 weights on x86-64, which has few FP16 kernels."""
    return RUNTIME if "float16" in PRECISIONS[precision].needs else FIXED


def ship(
    folder: Path, graphs: dict[str, GraphSpec], options: ExportOptions, checkpoint: Checkpoint | None = None
) -> dict[str, GraphSpec]:
    """Replace the .onnx files of `graphs` in `folder` by .ort files and add the list of required operators.

    `checkpoint` is for targets whose files say where they come from; .ort files do not.

    Returns the graphs with the new file names. Raises ExportError when the engine cannot convert a graph or
    list its operators.
    """
    shipped = {}
    with TemporaryDirectory(dir=folder) as scratch:
        files: list[Path] = []
        for name, graph in graphs.items():
            others = options.autoencoder if name != "denoiser" else None
            style = style_of(others or options.precision)
            source, made = folder / graph.file, folder / f"{name}.ort"
            convert(source, made, style.minimal)
            ways = {minimal: Path(scratch) / f"{name}.{minimal}.ort" for minimal in style.also}
            for minimal, other in ways.items():
                convert(source, other, minimal)
            files += [made, *ways.values()]
            remove(source)
            shipped[name] = replace(graph, file=made.name)
        (folder / CONFIG).write_text(required_operators(files))
    return shipped


def convert(source: Path, output: Path, minimal: str | None = None) -> None:
    """Write the .onnx file `source` as the .ort file `output`; the same bytes every time.

    `minimal` is the engine's `optimization.minimal_build_optimizations`: None bakes all optimizations in,
    "save" saves those beyond the basic ones for later, "apply" applies only what "save" would have saved.
    Raises ExportError when the engine cannot do it; an .ort file, weights inside, has less than 2 GiB.
    """
    options = session_options()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.optimized_model_filepath = str(output)
    options.add_session_config_entry("session.save_model_format", "ORT")
    options.add_session_config_entry("session.qdqisint8allowed", "1")
    if minimal is not None:
        options.add_session_config_entry("optimization.minimal_build_optimizations", minimal)
    failed = f"ONNX Runtime {ort.__version__} cannot write {source.name} as an .ort file"
    with engine_errors(failed, ExportError):
        ort.InferenceSession(
            str(source),
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=[BLOCKED],  # ARM kernels do not know blocks of channels
            enable_fallback=0,  # which would print, and try the same again
        )
    make_deterministic(output)


def required_operators(files: list[Path]) -> str:
    """Return the configuration of a reduced build that runs these .ort files.

    It has a line `domain;opset;operators` each, with the types that each operator needs. Only operators: no
    versions, no paths. Raises ExportError when the engine cannot list them.
    """
    with TemporaryDirectory() as scratch:
        path = Path(scratch) / CONFIG
        with engine_errors("ONNX Runtime cannot list the operators of the .ort files", ExportError):
            create_config_from_models(files, path, enable_type_reduction=True)
        lines = path.read_text().splitlines()
    kept = [line for line in lines if not line.startswith("#")]  # comments: the paths of the files
    return "\n".join(
        ["# ONNX Runtime: build.py --include_ops_by_config --enable_reduced_operator_type_support", *kept, ""]
    )
