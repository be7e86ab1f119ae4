"""Run an FP32 graph on calibration inputs and make histograms of its tensors."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import onnx

from moebius_edge.calibration.activations.observers import Histogram
from moebius_edge.common.errors import CalibrationError
from moebius_edge.common.memory import trim_memory
from moebius_edge.common.progress import Tick
from moebius_edge.common.tensors import Array
from moebius_edge.onnx_tools.macs import shapes
from moebius_edge.onnx_tools.sessions import run
from moebius_edge.onnx_tools.variants import Variants

# Tensors are read out in groups that hold no more than this: two groups at full size, where calibration
# then peaks at 10 GB; one group takes 1 GB more, and with 512 MB a sample takes three times as long.
CHUNK_BYTES = 2 << 30


def collect(
    model: onnx.ModelProto,
    inputs: Sequence[Mapping[str, Array]],
    tensors: Iterable[str],
    *,
    progress: Tick | None = None,
    chunk_bytes: int = CHUNK_BYTES,
) -> dict[str, Histogram]:
    """Return histograms of the named tensors of the graph over all inputs.

    Tensors are read in groups of at most `chunk_bytes`; each group runs the graph once per input. Raises
    CalibrationError, naming the tensor, for NaN and Inf.
    """
    groups, variants = list(_groups(model, tensors, chunk_bytes)), Variants(model)
    histograms: dict[str, Histogram] = {}
    for number, group in enumerate(groups):
        for done in _count(variants, group, inputs, histograms):
            if progress is not None:
                progress(number * len(inputs) + done, len(groups) * len(inputs))
        trim_memory()  # a session of the full-size model is 2 GB
    return histograms


def _count(
    variants: Variants,
    group: list[str],
    inputs: Sequence[Mapping[str, Array]],
    histograms: dict[str, Histogram],
) -> Iterator[int]:
    """Count one group of tensors over all inputs, in a session of its own; yield how many inputs are done."""
    session = variants.session(variants.giving(group))
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
