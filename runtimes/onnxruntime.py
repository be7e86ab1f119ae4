"""Run ONNX graphs with ONNX Runtime on the CPU: one session per graph, made at first use, freed on request.

Memory, measured on a 911 MB graph of 1x1 and 3x3 convolutions and matrix products: with the weights inside
the .onnx file loading peaks at 2.1 GB, because the parsed file and the copies that the engine makes are alive
together; with the weights in an external file, which is memory-mapped, at 1.2 GB, at the same speed. Exports
therefore keep large weights external. The engine refuses external files outside the model's folder.
"""

import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime as ort

from moebius_edge.bundle.folder import REPAIR, Bundle
from moebius_edge.bundle.manifest import GraphSpec, TensorSpec
from moebius_edge.common.errors import BundleError, RuntimeUnavailable
from moebius_edge.common.machine import check_threads, sums_overflow
from moebius_edge.common.memory import trim_memory
from moebius_edge.common.telemetry import ONNX_RUNTIME, is_switched_off
from moebius_edge.common.tensors import Array
from moebius_edge.precisions import PRECISIONS
from moebius_edge.runtimes.graph_limits import Outside, graph_sizes
from moebius_edge.runtimes.inputs import check_inputs, graph_spec

# The variable itself is read by the engine, but not on Windows, nor where a program had imported it already.
if is_switched_off(ONNX_RUNTIME):
    ort.disable_telemetry_events()

# An entry of a session's configuration. x86 without VNNI adds pairs of u8 x s8 products in 16 bits, which
# overflow: nano's denoiser loses 2.4 dB. With this the engine turns such weights into u8 when it loads a
# graph (not those of .ort files). It does so on CPUs with VNNI too, which then compute INT8 no faster than
# FP32 (1.04x where it should be 1.9x), so it is for `sums_overflow` alone: see `exact_sums`.
NO_OVERFLOW = ("session.x64quantprecision", "1")
OVERFLOWS = (
    "integer sums of an .ort file overflow on this CPU, which has no VNNI: the {graph} gives other numbers "
    "here than on ARM"
)

ORT_TYPES = {"float32": "tensor(float)", "float16": "tensor(float16)"}
LOG_FATAL = 4

# Graphs of the autoencoder run once or twice an edit, with activations of 268 MB: memory counts for more than
# the time of asking the system for it. In the order of the file, the decoder keeps the least of them.
# Full size, the decoder's peak: 2.03 GB with an arena, 1.39 without, 1.27 in this order; 5 % slower.
ONCE = frozenset({"encoder", "decoder"})


@dataclass(frozen=True)
class OrtOptions:
    """How sessions are made."""

    threads: int | None = None  # CPU threads of one operator; None: one per core
    optimization: str = "all"  # "all", "extended" (no blocked layouts), "basic", "none"
    arena: bool = True  # reuse activation memory through the engine's arena
    spinning: bool = True  # idle threads spin: faster alone, a burden to other work on the machine


OPTIMIZATION = {
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "none": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
}


class OnnxRuntime:
    """A runtime for a bundle's ONNX graphs; sessions may be shared by threads, and loading is serialised."""

    name = "onnxruntime"

    def __init__(self, bundle: Bundle, threads: int | None = None, options: OrtOptions | None = None) -> None:
        """Keep the bundle; sessions are made at first use. `threads` overrides that of `options`.

        Raises InvalidInput for as many threads as `check_threads` refuses.
        """
        self.bundle = bundle
        self.options = options or OrtOptions()
        self.threads = threads if threads is not None else self.options.threads
        check_threads(self.threads)
        self._sessions: dict[str, Any] = {}
        self._loading = threading.Lock()

    def run(self, graph: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Evaluate one graph; names, shapes and dtypes as in the manifest.

        Raises InvalidInput for other inputs, BundleError for a graph that is not what the manifest says, and
        RuntimeUnavailable when the engine cannot load or run it.
        """
        spec = graph_spec(self.bundle.manifest.graphs, graph)
        check_inputs(graph, spec.inputs, inputs)
        session = self._session(graph, spec)
        feeds = {name: np.ascontiguousarray(value).reshape(value.shape) for name, value in inputs.items()}
        names = [output.name for output in spec.outputs]
        try:
            outputs = session.run(names, feeds)
        except Exception as error:  # the engine's errors share no base class but RuntimeError's
            raise RuntimeUnavailable(f"ONNX Runtime failed in {graph}: {first_line(error)}") from error
        return dict(zip(names, outputs, strict=True))

    def release(self, graph: str) -> None:
        """Free the graph's session and give the memory back to the system."""
        graph_spec(self.bundle.manifest.graphs, graph)
        if self._sessions.pop(graph, None) is not None:
            trim_memory()

    def _session(self, graph: str, spec: GraphSpec) -> Any:
        with self._loading:
            session = self._sessions.get(graph)
            if session is None:
                session = self._load(graph, spec)
                self._sessions[graph] = session
            return session

    def _load(self, graph: str, spec: GraphSpec) -> Any:
        path = self.bundle.file(spec.file)
        options = session_options(self.options, self.threads)
        spare_memory(graph, options)
        self._check_graph(graph, spec)
        options.add_session_config_entry(
            "session.load_model_format", "ORT" if path.suffix == ".ort" else "ONNX"
        )
        if path.suffix == ".ort":
            precision = PRECISIONS.get(self.bundle.manifest.precision)  # None: that of a plug-in's target
            if precision is not None and precision.calibrated and sums_overflow():
                print(f"note: {OVERFLOWS.format(graph=graph)}", file=sys.stderr)
            options.add_session_config_entry("session.enable_saved_runtime_optimizations", "1")
        try:
            # By path, never by bytes: the engine maps external weights, and keeps them to the model's folder.
            session = ort.InferenceSession(
                str(path),
                options,
                providers=["CPUExecutionProvider"],
                enable_fallback=0,  # which would print, and try the same again
            )
        except MemoryError as error:
            raise RuntimeUnavailable(f"not enough memory to load {graph} ({spec.file})") from error
        except Exception as error:  # the engine's errors share no base class but RuntimeError's
            raise RuntimeUnavailable(
                f"ONNX Runtime {ort.__version__} cannot load {graph} ({spec.file}): {first_line(error)}; "
                f"update onnxruntime, or {REPAIR}"
            ) from error
        _check_signature(graph, "inputs", spec.inputs, session.get_inputs())
        _check_signature(graph, "outputs", spec.outputs, session.get_outputs())
        return session

    def _check_graph(self, graph: str, spec: GraphSpec) -> None:
        """Raise BundleError for a graph that might take more than `graph_limits.MOST`, or reads other files.

        The files of the bundle alone are vouched for.
        """
        file = spec.file
        folder = file[: file.rfind("/") + 1]
        beside = {
            name.removeprefix(folder): entry.size
            for name, entry in self.bundle.manifest.files.items()
            if name.startswith(folder)
        }
        try:
            graph_sizes(self.bundle.file(file), {each.name: each.shape for each in spec.inputs}, beside)
        except Outside as error:
            raise BundleError(
                f"cannot load {graph} ({file}): its weights point to {str(error)[:120]!r}, which is no "
                f"file of the bundle; {REPAIR}"
            ) from error
        except (ValueError, OSError) as error:
            raise BundleError(f"cannot load {graph} ({file}): {error}; {REPAIR}") from error


def session_options(options: OrtOptions, threads: int | None) -> Any:
    """Return the engine's options: quiet, and sparing with memory where that costs no speed."""
    made = ort.SessionOptions()
    made.log_severity_level = LOG_FATAL
    made.intra_op_num_threads = threads or 0
    made.inter_op_num_threads = 1
    made.graph_optimization_level = OPTIMIZATION[options.optimization]
    made.enable_cpu_mem_arena = options.arena
    # A pattern is one more block as large as all activations, from the second run on: 670 MB at full size.
    made.enable_mem_pattern = False
    made.add_session_config_entry("session.intra_op.allow_spinning", "1" if options.spinning else "0")
    exact_sums(made)
    return made


def exact_sums(options: Any) -> None:
    """Change the engine's options so that sums of u8 x s8 products are exact on this CPU."""
    if sums_overflow():
        options.add_session_config_entry(*NO_OVERFLOW)


def spare_memory(graph: str, options: Any) -> None:
    """Change the engine's options to save memory, if the graph runs only once an edit (`ONCE`)."""
    if graph in ONCE:
        options.enable_cpu_mem_arena = False
        options.execution_order = ort.ExecutionOrder.PRIORITY_BASED


def _check_signature(graph: str, side: str, specs: tuple[TensorSpec, ...], found: list[Any]) -> None:
    expected = {spec.name: (ORT_TYPES[spec.dtype], list(spec.shape)) for spec in specs}
    try:
        actual = {tensor.name: (tensor.type, list(tensor.shape)) for tensor in found}
    except UnicodeDecodeError:  # the engine lets any bytes be a name in an .ort file
        raise BundleError(f"the {side} of {graph} have names that are no text; {REPAIR}") from None
    if actual != expected:
        raise BundleError(
            f"the {side} of {graph} are {actual}, but the manifest says {expected}: "
            "they do not belong together; export the bundle again"
        )


def first_line(error: BaseException) -> str:
    """Return the beginning of an engine's message, at most 300 characters, or the name of the error."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
