"""FP32 graphs -> the graphs of a precision, as a table: what each does to which graph."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import onnx

from moebius_edge.calibration.qdq import STYLES, quantize
from moebius_edge.calibration.recording import Recording
from moebius_edge.errors import ExportError
from moebius_edge.export.forms import Forms, Layout

Models = dict[str, onnx.ModelProto]  # encoder, denoiser, decoder


@dataclass(frozen=True)
class Conversion:
    """What a conversion may need besides the graphs."""

    style: str  # how the engine wants its Q/DQ, a name of `STYLES`
    observer: str  # how ranges are read off histograms
    recording: Recording | None = None  # what calibration saw


@dataclass(frozen=True)
class Precision:
    """One row of the table of precisions."""

    description: str
    convert: Callable[[Models, Conversion], Models] = lambda models, conversion: models
    calibrated: bool = False  # needs a recording
    layout: Layout | None = None  # of the denoiser; None: the target's own

    def forms(self, forms: Forms) -> Forms:
        """A target's forms in the layout that this precision is fast in."""
        return forms if self.layout is None else replace(forms, layout=self.layout)


def to_int8(models: Models, conversion: Conversion) -> Models:
    """The denoiser in INT8. The autoencoder stays as it is: it runs three times an edit, and errors show."""
    if conversion.recording is None:
        raise ExportError("int8 needs a calibration; run `moebius-edge calibrate`, or let export do it")
    denoiser = models["denoiser"]
    ranges = conversion.recording.ranges(denoiser, conversion.observer)
    return {**models, "denoiser": quantize(denoiser, ranges, STYLES[conversion.style])}


PRECISIONS: dict[str, Precision] = {
    "fp32": Precision("every number a float of 32 bits"),
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
