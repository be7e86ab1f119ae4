"""Save and load what calibration saw: histograms of every layer's input and output, and their recipe.

The file is safetensors: per site `<site>.counts` int64 [2048] and `<site>.ends` float64 [3] (limit of the
histogram, smallest and largest value), and `recipe`, UTF-8 JSON as uint8. It never holds photos or pickle.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from moebius_edge.calibration.activations.observers import BINS, OBSERVERS, Histogram, Range
from moebius_edge.common import strictjson
from moebius_edge.common.errors import CalibrationError
from moebius_edge.common.files import write_atomically
from moebius_edge.common.tensors import Array, TensorFileError, read_tensors, tensor_bytes
from moebius_edge.onnx_tools.layers import Graph, find_layers

FORMAT = "moebius-edge-calibration-1"
MAX_BYTES = 256 << 20
MAX_RECIPE = 1 << 20
MAX_LIMIT = 1e30  # of a histogram: beyond it float32 arithmetic overflows
MAX_COUNT = 2**62 // BINS  # so that no sum of a histogram overflows


def site_tensors(model: onnx.ModelProto) -> dict[str, str]:
    """Map each site to its tensor in this graph: what a layer reads (".in") and what it gives (".out").

    Sites are named by layers ("down.0.1.1.ffn.expand.0.in"), so that a recording fits every layout.
    """
    tensors = {}
    for name, layer in find_layers(Graph(model)).items():
        tensors[f"{name}.in"] = layer.source
        tensors[f"{name}.out"] = layer.output
    return tensors


@dataclass(frozen=True)
class Recording:
    """Histograms by site, with the recipe that made them."""

    recipe: dict[str, Any]  # "weights_sha256", "samples", "options" of the calibration data, "tools"
    histograms: dict[str, Histogram]

    def ranges(self, model: onnx.ModelProto, observer: str) -> dict[str, Range]:
        """Return the range of each tensor of `model`, by tensor name.

        Raises CalibrationError for an unknown observer and for a layer that was not seen.
        """
        if observer not in OBSERVERS:
            raise CalibrationError(f"there is no observer {observer!r}; observers are {', '.join(OBSERVERS)}")
        found: dict[str, Range] = {}
        for site, tensor in site_tensors(model).items():
            if site not in self.histograms:
                raise CalibrationError(
                    f"the calibration has no {site}: it is of another architecture; calibrate again"
                )
            if tensor not in found:
                found[tensor] = OBSERVERS[observer](self.histograms[site])
        return found

    def require(self, weights_sha256: str) -> None:
        """Raise CalibrationError unless the recording was made from these weights."""
        if (found := self.recipe.get("weights_sha256")) != weights_sha256:
            raise CalibrationError(
                f"the calibration was recorded from other weights (SHA-256 {str(found)[:16]}..., this model "
                f"has {weights_sha256[:16]}...): run `moebius-edge calibrate` for this model"
            )

    def save(self, path: Path) -> None:
        """Write the file atomically. Raises CalibrationError when it cannot be written."""
        recipe = json.dumps({"format": FORMAT, **self.recipe}, sort_keys=True)
        tensors: dict[str, Array] = {"recipe": np.frombuffer(recipe.encode(), np.uint8)}
        for site, histogram in self.histograms.items():
            tensors[f"{site}.counts"] = histogram.counts
            tensors[f"{site}.ends"] = np.array([histogram.limit, histogram.low, histogram.high])
        try:
            write_atomically(path, tensor_bytes(tensors))
        except OSError as error:
            raise CalibrationError(f"cannot write {path}: {error.strerror or error}") from error

    @classmethod
    def load(cls, path: Path) -> "Recording":
        """Read a recording. Raises CalibrationError for anything but a complete one of this version."""
        try:
            tensors = read_tensors(path, MAX_BYTES)
            if "recipe" not in tensors:
                raise TensorFileError("it has no recipe")
            recipe = strictjson.loads(tensors.pop("recipe").tobytes(), MAX_RECIPE)
            if not isinstance(recipe, dict) or recipe.pop("format", None) != FORMAT:
                raise TensorFileError("its recipe is not one of this version")
            return cls(recipe, dict(_histograms(tensors)))
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            raise CalibrationError(
                f"{path} is not a calibration of this program: {why}; make one with `moebius-edge calibrate`"
            ) from error


def _histograms(tensors: Mapping[str, Array]) -> Iterator[tuple[str, Histogram]]:
    sites = sorted({name.rpartition(".")[0] for name in tensors})
    expected = {f"{site}.{kind}" for site in sites for kind in ("counts", "ends")}
    if not sites or (odd := expected ^ set(tensors)):
        raise TensorFileError(f"{min(odd)!r} is missing or alone" if sites else "it has no histograms")
    for site in sites:
        ends, counts = tensors[f"{site}.ends"], tensors[f"{site}.counts"]
        kinds = (ends.dtype.name, ends.shape, counts.dtype.name, counts.shape)
        if kinds != ("float64", (3,), "int64", (BINS,)):
            raise TensorFileError(f"{site!r} is no histogram of {BINS} bins")
        limit, low, high = (float(value) for value in ends)
        if not (0 < limit <= MAX_LIMIT and low <= high and max(-low, high) <= limit):
            raise TensorFileError(f"{site!r} has impossible ends")
        if not (counts.min() >= 0 and 0 < counts.max() <= MAX_COUNT):
            raise TensorFileError(f"{site!r} has impossible counts")
        yield site, Histogram(limit, low, high, counts.copy())
