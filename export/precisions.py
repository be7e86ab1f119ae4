"""FP32 graphs -> the graphs of a precision, as a table: what each does to which graph."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

import onnx

from moebius_edge.calibration.amplitudes import amplitudes
from moebius_edge.calibration.data import Sample
from moebius_edge.calibration.fp16 import to_fp16
from moebius_edge.calibration.qdq import STYLES, quantize
from moebius_edge.calibration.recording import Recording
from moebius_edge.calibration.weight_only import quantize_weights
from moebius_edge.errors import ExportError
from moebius_edge.export.forms import Forms, Layout

Models = dict[str, onnx.ModelProto]  # encoder, denoiser, decoder


@dataclass(frozen=True)
class Conversion:
    """What a conversion may need besides the graphs."""

    style: str  # how the engine wants its Q/DQ, a name of `STYLES`
    observer: str  # how ranges are read off histograms
    recording: Recording | None = None  # what calibration saw
    inputs: Mapping[str, list[Sample]] = field(default_factory=dict)  # of each graph, from the FP32 loop


@dataclass(frozen=True)
class Precision:
    """One row of the table of precisions."""

    description: str
    convert: Callable[[Models, Conversion], Models] = lambda models, conversion: models
    calibrated: bool = False  # needs a recording
    followed: bool = False  # needs inputs of the graphs from the loop
    layout: Layout | None = None  # of the denoiser; None: the target's own

    def forms(self, forms: Forms) -> Forms:
        """A target's forms in the layout that this precision is fast in."""
        return forms if self.layout is None else replace(forms, layout=self.layout)


def to_int8(models: Models, conversion: Conversion) -> Models:
    """The denoiser in INT8; weights of float arithmetic (tables, the time embedding) are stored as in w8.

    The autoencoder stays as it is: it runs three times an edit, and its errors show.
    """
    if conversion.recording is None:
        raise ExportError("int8 needs a calibration; run `moebius-edge calibrate`, or let export do it")
    denoiser = models["denoiser"]
    ranges = conversion.recording.ranges(denoiser, conversion.observer)
    quantized = quantize(denoiser, ranges, STYLES[conversion.style])
    return {**models, "denoiser": quantize_weights(quantized, 8)[0]}


def to_half(models: Models, conversion: Conversion) -> Models:
    """All three graphs in FP16, but for what float16 cannot hold on the inputs that were seen."""
    return {
        name: to_fp16(model, amplitudes(model, conversion.inputs[name]))[0] for name, model in models.items()
    }


def to_small_weights(models: Models, conversion: Conversion, *, bits: Literal[8, 4]) -> Models:
    """All three graphs with their large weights as integers, rebuilt as floats when the bundle is loaded."""
    return {name: quantize_weights(model, bits)[0] for name, model in models.items()}


PRECISIONS: dict[str, Precision] = {
    "fp32": Precision("every number a float of 32 bits"),
    "fp16": Precision("weights and activations in 16 bits", to_half, followed=True),
    "w8": Precision("large weights stored in 8 bits, arithmetic in 32", partial(to_small_weights, bits=8)),
    "w4": Precision("large weights stored in 4 bits, arithmetic in 32", partial(to_small_weights, bits=4)),
    "int8": Precision(
        "the denoiser's convolutions and products in 8 bits, calibrated; the autoencoder in 32",
        to_int8,
        calibrated=True,
        layout="channels_last",
    ),
}


def convert(models: Mapping[str, onnx.ModelProto], precision: str, conversion: Conversion) -> Models:
    """The graphs of a precision. Raises ExportError or CalibrationError when something is missing."""
    return PRECISIONS[precision].convert(dict(models), conversion)
