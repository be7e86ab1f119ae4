"""Measure the ledger: what it costs to quantize each layer alone, on calibration trajectories.

Cost is noise: the mean squared error of the guided denoiser output in units of the squared range of FP32's,
averaged over the samples; -10 log10 of it is on the scale of `verify`'s dB. Errors of different layers are
nearly independent, so their noises add; `Ledger.together` shows how far that holds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from moebius_edge.calibration.activations.data import Sample
from moebius_edge.calibration.activations.observers import Range
from moebius_edge.calibration.int8.qdq import QDQStyle, quantize
from moebius_edge.common import strictjson
from moebius_edge.common.errors import CalibrationError
from moebius_edge.common.files import plain_size, write_atomically
from moebius_edge.common.progress import Tick
from moebius_edge.common.tensors import Array
from moebius_edge.onnx_tools.layers import Graph, find_layers
from moebius_edge.onnx_tools.sessions import run
from moebius_edge.onnx_tools.variants import Variants

FORMAT = "moebius-edge-ledger-1"
MAX_BYTES = 4 << 20
LEAST = 1e-20  # noise of a layer whose rounding changes nothing: 200 dB


def decibels(noise: float) -> float:
    """Convert noise, a mean squared error relative to the squared peak, to dB; 200 dB at most."""
    return float(-10 * np.log10(max(noise, LEAST)))


@dataclass(frozen=True)
class Entry:
    """One layer and its cost."""

    layer: str
    op: str
    depthwise: bool
    macs: int  # of one run
    noise: float  # when only this layer is quantized

    @property
    def db(self) -> float:
        """The denoiser against FP32 in dB when only this layer is quantized."""
        return decibels(self.noise)


@dataclass(frozen=True)
class Ledger:
    """Every layer's cost, the worst first.

    It is not checked that an export has the same ranges: for other ranges of the same weights the costs are
    about the same.
    """

    weights_sha256: str
    observer: str
    style: str
    samples: int
    together: float  # noise when all layers are quantized
    entries: tuple[Entry, ...]

    @property
    def predicted(self) -> float:
        """The noise of all layers together if noises add."""
        return sum(entry.noise for entry in self.entries)

    @property
    def possible(self) -> bool:
        """Whether a measurement can give these numbers: none negative, every layer once, samples seen."""
        least = min((min(entry.noise, entry.macs) for entry in self.entries), default=-1)
        different = len({entry.layer for entry in self.entries}) == len(self.entries)
        return least >= 0 and different and self.samples > 0 and self.together >= 0

    def require(self, weights_sha256: str, observer: str, style: str) -> None:
        """Raise CalibrationError unless the ledger was measured for these weights, observer and style."""
        expected = {"weights_sha256": weights_sha256, "observer": observer, "style": style}
        for key, value in expected.items():
            if (found := getattr(self, key)) != value:
                raise CalibrationError(
                    f"the ledger was measured with {key} {found[:16]}, this export has {value[:16]}: run "
                    "`moebius-edge ledger` for it"
                )

    def save(self, path: Path) -> None:
        """Write JSON, atomically. Raises CalibrationError when it cannot be written."""
        try:
            write_atomically(path, strictjson.dumps({"format": FORMAT, **asdict(self)}))
        except OSError as error:
            raise CalibrationError(f"cannot write {path}: {error.strerror or error}") from error

    @classmethod
    def load(cls, path: Path) -> "Ledger":
        """Read a ledger.

        Raises CalibrationError for anything but a complete one of this version whose numbers are possible.
        """
        try:
            plain_size(path)  # raises for a pipe, which would never end
            with path.open("rb") as file:
                content = strictjson.loads(file.read(MAX_BYTES + 1), MAX_BYTES)
            if not isinstance(content, dict) or content.pop("format", None) != FORMAT:
                raise strictjson.JSONError("its format is not that of this version")
            ledger = strictjson.decode(cls, content, "ledger")
        except (OSError, strictjson.JSONError) as error:
            why = getattr(error, "strerror", None) or error
            raise CalibrationError(
                f"{path} is not a ledger of this program: {why}; make one with `moebius-edge ledger`"
            ) from error
        if not ledger.possible:
            raise CalibrationError(f"{path} is an impossible ledger; make one with `moebius-edge ledger`")
        return ledger


def measure_sensitivity(
    model: onnx.ModelProto,
    ranges: Mapping[str, Range],
    style: QDQStyle,
    samples: Sequence[Sample],
    progress: Tick | None = None,
) -> tuple[tuple[Entry, ...], float]:
    """Measure every layer alone; return the entries, the worst first, and the noise of all layers together.

    `model`: an FP32 denoiser; `ranges` by its tensors, from `Recording.ranges`. Raises CalibrationError when
    a quantized denoiser gives NaN or Inf.
    """
    layers = find_layers(Graph(model))
    variants = Variants(model)
    exact = _outputs(variants.session(variants.empty), samples)
    entries = []
    for done, layer in enumerate(layers.values()):
        held = variants.holding({layer.weight, layer.bias or ""})
        session = variants.session(quantize(held, ranges, style, names={layer.name}))
        noise = _noise(_outputs(session, samples), exact, layer.name)
        entries.append(Entry(layer.name, layer.op, layer.depthwise, layer.macs, noise))
        if progress is not None:
            progress(done + 1, len(layers) + 1)
    everything = variants.session(quantize(variants.holding(set(variants.weights)), ranges, style))
    together = _noise(_outputs(everything, samples), exact, "the denoiser with all layers")
    if progress is not None:
        progress(len(layers) + 1, len(layers) + 1)
    return tuple(sorted(entries, key=lambda entry: -entry.noise)), together


def _outputs(session: Any, samples: Sequence[Sample]) -> list[Array]:
    return [run(session, ["noise"], sample)[0] for sample in samples]


def _noise(found: Sequence[Array], exact: Sequence[Array], what: str) -> float:
    """Return the mean noise of `found` against `exact`.

    Raises CalibrationError for NaN or Inf; `what` names the quantized layer in its message.
    """
    with np.errstate(all="ignore"):  # what is not finite is reported below
        errors = [
            np.mean((a.astype(np.float64) - b) ** 2) / (np.ptp(b.astype(np.float64)) or 1.0) ** 2
            for a, b in zip(found, exact, strict=True)
        ]
    if not np.isfinite(noise := float(np.mean(errors))):
        raise CalibrationError(
            f"{what} in INT8 gives NaN or Inf; calibrate again, or with another --observer"
        )
    return noise
