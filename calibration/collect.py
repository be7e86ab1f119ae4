"""Runs an FP32 graph on calibration inputs and counts what its tensors hold."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper

from moebius_edge.calibration.macs import shapes
from moebius_edge.calibration.observers import Histogram
from moebius_edge.errors import CalibrationError, MoebiusError
from moebius_edge.memory import trim_memory
from moebius_edge.runtimes.onnxruntime import first_line
from moebius_edge.tensors import Array

Progress = Callable[[int, int], None]  # (runs done, of how many)

BLOCKED = "NchwcTransformer"  # the optimizer that rewrites convolutions to blocks of channels
CHUNK_BYTES = 512 << 20  # tensors are read out in groups that hold no more than this


def collect(
    model: onnx.ModelProto,
    inputs: Sequence[Mapping[str, Array]],
    tensors: Iterable[str],
    *,
    progress: Progress | None = None,
    chunk_bytes: int = CHUNK_BYTES,
) -> dict[str, Histogram]:
    """Histograms of the named tensors of the graph over all inputs.

    Every group of tensors is a run of the graph per input. Raises CalibrationError, naming the tensor, for
    NaN and Inf.
    """
    groups = list(_groups(model, tensors, chunk_bytes))
    histograms: dict[str, Histogram] = {}
    for number, group in enumerate(groups):
        for done in _count(model, group, inputs, histograms):
            if progress is not None:
                progress(number * len(inputs) + done, len(groups) * len(inputs))
        trim_memory()  # a session of the full-size model is 2 GB
    return histograms


def _count(
    model: onnx.ModelProto,
    group: list[str],
    inputs: Sequence[Mapping[str, Array]],
    histograms: dict[str, Histogram],
) -> Iterator[int]:
    """One group of tensors over all inputs, in a session of its own; yields how many inputs are done."""
    session = _session(model, group)
    for done, feed in enumerate(inputs, 1):
        for name, values in zip(group, run(session, group, feed), strict=True):
            if not np.isfinite(values).all():
                raise CalibrationError(
                    f"{name} holds NaN or Inf for calibration input {done} of {len(inputs)}: the model "
                    "itself overflows there; check it with `moebius-edge verify`"
                )
            histograms.setdefault(name, Histogram()).add(values)
        yield done


def _groups(model: onnx.ModelProto, tensors: Iterable[str], limit: int) -> Iterator[list[str]]:
    known, group, size = shapes(model), list[str](), 0
    for name in dict.fromkeys(tensors):
        need = 4 * int(np.prod(known[name]))
        if group and size + need > limit:
            yield group
            group, size = [], 0
        group.append(name)
        size += need
    if group:
        yield group


@contextmanager
def engine_errors(what: str, kind: type[MoebiusError] = CalibrationError) -> Iterator[None]:
    """Errors of ONNX Runtime and its tools, which share no base class, as a `kind`."""
    try:
        yield
    except (MemoryError, OSError, MoebiusError):
        raise
    except Exception as error:
        raise kind(f"{what}: {first_line(error)}") from error


def session_of(model: onnx.ModelProto) -> Any:
    """An ONNX Runtime session of a graph that is in memory."""
    return open_session(model, session_options())


def session_options() -> Any:
    """Of all sessions of calibration: silent, and without a second copy of all activations."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.enable_mem_pattern = False
    # Products with integer weights compute in float32, as in an .ort file (`export.ort_mobile`).
    options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "1")
    return options


def run(session: Any, names: Sequence[str] | None, feed: Mapping[str, Array]) -> list[Array]:
    """The named outputs of a session; None: all. Raises CalibrationError when the engine fails."""
    with engine_errors("ONNX Runtime failed in a graph"):
        return list(session.run(names, dict(feed)))


def open_session(model: onnx.ModelProto, options: Any, *, blocked: bool = True) -> Any:
    """A session of a graph that is in memory, on the CPU. `blocked`: convolutions may run on blocks of
    channels, the engine's layout for x86-64."""
    with engine_errors("ONNX Runtime cannot load a graph"):
        return ort.InferenceSession(
            model.SerializeToString(),
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=None if blocked else [BLOCKED],
        )


def _session(model: onnx.ModelProto, outputs: list[str]) -> Any:
    """A session that gives these tensors; what does not lead to them is not run."""
    graph = helper.make_graph(
        model.graph.node,
        model.graph.name,
        model.graph.input,
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        model.graph.initializer,
    )
    return session_of(helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version))
