"""Open sessions of ONNX Runtime for graphs in memory, and say its errors in one sentence."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import onnx
import onnxruntime as ort

from moebius_edge.common.errors import CalibrationError, MoebiusError
from moebius_edge.common.tensors import Array
from moebius_edge.runtimes.onnxruntime import exact_sums, first_line

BLOCKED = "NchwcTransformer"  # the optimizer that rewrites convolutions to blocks of channels


@contextmanager
def engine_errors(what: str, kind: type[MoebiusError] = CalibrationError) -> Iterator[None]:
    """Raise errors of ONNX Runtime and its tools, which share no base class, as one of class `kind`.

    `what` begins the message. MemoryError, OSError and MoebiusError are raised on as they are.
    """
    try:
        yield
    except (MemoryError, OSError, MoebiusError):
        raise
    except Exception as error:
        raise kind(f"{what}: {first_line(error)}") from error


def session_options() -> Any:
    """Return the options of all sessions of calibration and conversion.

    They are silent and keep no second copy of all activations. `exact_sums` is not among them: what is
    converted must be the same on every machine, and `coverage` knows weights by their names, which
    `exact_sums` changes.
    """
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.enable_mem_pattern = False
    # Products with integer weights compute in float32; 4, the default, would round what they read to 8 bits.
    options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "1")
    return options


def run(session: Any, names: Sequence[str] | None, feed: Mapping[str, Array]) -> list[Array]:
    """Return the named outputs of a session for the inputs `feed`; None: all of them.

    Raises CalibrationError when the engine fails.
    """
    with engine_errors("ONNX Runtime failed in a graph"):
        return list(session.run(names, dict(feed)))


def open_session(model: onnx.ModelProto, options: Any = None, *, blocked: bool = True) -> Any:
    """Open a session of a graph that is in memory, on the CPU.

    `options`: by default `session_options()`; they are changed, so give each session its own. `blocked`:
    convolutions may run on blocks of channels, the engine's layout for x86-64. Raises CalibrationError when
    the engine cannot load the graph.
    """
    options = options or session_options()
    exact_sums(options)
    with engine_errors("ONNX Runtime cannot load a graph"):
        return ort.InferenceSession(
            model.SerializeToString(),
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=None if blocked else [BLOCKED],
        )
