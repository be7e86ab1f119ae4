"""How close to the FP32 reference a bundle must be, per precision: the one table that `verify` asks."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from moebius_edge.common.errors import BundleError


@dataclass(frozen=True)
class Thresholds:
    """Bars in dB (`moebius_edge.checking.verify` says of what); a bundle that is below one of them fails."""

    encoder_db: float  # mean and std, reference inputs
    denoiser_db: float  # guided noise of every step, reference inputs
    decoder_db: float  # picture, reference inputs
    latents_db: float  # latents after every step of the bundle's own loop: errors add up here
    hole_db: float  # finished 8-bit picture, inside the mask; peak 255
    ring_db: float  # the same in the ring around the mask
    ratio: float  # how far std(cond - uncond), runtime / reference, may be from 1
    correlation: float  # least correlation of the runtime's cond - uncond with the reference's

    def graph_db(self, graph: str) -> float:
        """The bar of one of the three graphs."""
        return {"encoder": self.encoder_db, "denoiser": self.denoiser_db, "decoder": self.decoder_db}[graph]


# fp32, measured: the same numbers summed in another order give 100 dB (full-size encoder) to 136 per graph,
# 106 (full size) to 118 after the loop, and 74 in the finished hole. In a model of 2 M parameters one weight
# moved by its tensor's standard deviation stays below 70. One byte in ten off by one grey level is 58 dB.
THRESHOLDS: dict[str, Thresholds] = {
    "fp32": Thresholds(
        encoder_db=90.0,
        denoiser_db=90.0,
        decoder_db=90.0,
        latents_db=80.0,
        hole_db=50.0,
        ring_db=50.0,
        ratio=0.001,
        correlation=0.9999,
    ),
    # fp16, w8, w4 and int8, measured on nano: docs/quantization.md. w4 is for size, and only has to be
    # recognisably the same model.
    "fp16": Thresholds(
        encoder_db=50.0,
        denoiser_db=55.0,
        decoder_db=55.0,
        latents_db=50.0,
        hole_db=45.0,
        ring_db=45.0,
        ratio=0.02,
        correlation=0.99,
    ),
    "w8": Thresholds(
        encoder_db=50.0,
        denoiser_db=42.0,
        decoder_db=50.0,
        latents_db=40.0,
        hole_db=38.0,
        ring_db=38.0,
        ratio=0.05,
        correlation=0.97,
    ),
    "w4": Thresholds(
        encoder_db=40.0,
        denoiser_db=28.0,
        decoder_db=35.0,
        latents_db=28.0,
        hole_db=25.0,
        ring_db=25.0,
        ratio=0.2,
        correlation=0.8,
    ),
    # int8: the denoiser alone is quantized. Measured on nano: docs/quantization.md.
    "int8": Thresholds(
        encoder_db=90.0,
        denoiser_db=32.0,
        decoder_db=90.0,
        latents_db=30.0,
        hole_db=33.0,
        ring_db=33.0,
        ratio=0.1,
        correlation=0.9,
    ),
}
# Core ML's tables of 256 values are as good as 8-bit integers, those of 64 cost 5 dB more on nano, and those
# of 16 only have to be recognisably the same model: docs/coreml.md.
THRESHOLDS["p8"] = THRESHOLDS["w8"]
THRESHOLDS["p6"] = replace(
    THRESHOLDS["w8"],
    denoiser_db=36.0,
    latents_db=34.0,
    hole_db=32.0,
    ring_db=32.0,
    ratio=0.1,
    correlation=0.9,
)
THRESHOLDS["p4"] = THRESHOLDS["w4"]
# mixed: like int8, but closer; the target that it was searched for is an average over many edits.
THRESHOLDS["mixed"] = replace(THRESHOLDS["int8"], hole_db=36.0, ring_db=36.0)


def thresholds(precision: str, settings: Mapping[str, str] | None = None) -> Thresholds:
    """The row of a precision; `settings`: of the bundle, which may say what its encoder and decoder are in.

    Raises BundleError for a precision that this version does not know.
    """
    row, settings = _row(precision), settings or {}
    half = settings.get("floats") == "float16"  # what INT8 leaves as floats
    others = _row("fp16" if half else settings.get("autoencoder", precision))
    return replace(
        row,
        encoder_db=min(row.encoder_db, others.encoder_db),
        decoder_db=min(row.decoder_db, others.decoder_db),
    )


def _row(precision: str) -> Thresholds:
    if precision not in THRESHOLDS:
        raise BundleError(
            f"there are no thresholds for the precision {precision!r}; known are {', '.join(THRESHOLDS)}: "
            "update moebius-edge"
        )
    return THRESHOLDS[precision]
