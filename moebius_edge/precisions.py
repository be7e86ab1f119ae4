"""The precisions as data: what each is, what makes it, and how close to the FP32 reference it must be.

Imports no engine: `verify` has the thresholds where neither onnx nor torch is installed.
"""

from dataclasses import dataclass, replace
from typing import Literal

# What an engine must be able to do. Weights in few bits are rebuilt as floats before they are used.
Need = Literal["float16", "integer arithmetic", "8-bit weights", "4-bit weights"]


@dataclass(frozen=True)
class Thresholds:
    """In dB (`moebius_edge.checking.verify` says of what); a bundle that is below one of them fails."""

    encoder_db: float  # mean and std, reference inputs
    denoiser_db: float  # guided noise of every step, reference inputs
    decoder_db: float  # picture, reference inputs
    latents_db: float  # latents after every step of the bundle's own loop: errors add up here
    hole_db: float  # finished 8-bit picture, inside the mask; peak 255
    ring_db: float  # the same in the ring around the mask
    ratio: float  # how far std(cond - uncond), runtime / reference, may be from 1
    correlation: float  # least correlation of the runtime's cond - uncond with the reference's

    def graph_db(self, graph: str) -> float:
        """Return the threshold of one of the three graphs."""
        return {"encoder": self.encoder_db, "denoiser": self.denoiser_db, "decoder": self.decoder_db}[graph]


@dataclass(frozen=True)
class Precision:
    """One row of the table of precisions."""

    name: str  # as typed: `--precision int8`
    help: str  # what it is, for the README
    pays: str  # where it pays
    thresholds: Thresholds
    # What makes the graphs of FP32 ones, "module:function(models, conversion)"; None: only a target makes it
    # (`Target.made_of`).
    convert: str | None = None
    needs: frozenset[Need] = frozenset()  # of the engine: targets that take it have this precision
    calibrated: bool = False  # needs a recording: what the denoiser's layers read is quantized
    followed: bool = False  # needs the FP32 loop to be followed
    searched: bool = False  # needs a ledger

    @property
    def tools(self) -> tuple[str, ...]:
        """Packages whose results shape the graphs: calibration runs them in ONNX Runtime."""
        return ("onnxruntime",) if self.calibrated or self.followed else ()

    def follows(self, *, recorded: bool, halves: bool) -> bool:
        """Whether the FP32 loop is followed: there is a recording or not; floats become float16 or not."""
        return self.followed or (self.calibrated and (halves or not recorded))


CONVERSIONS = "moebius_edge.calibration.precisions"

# fp32, measured: the same numbers summed in another order give 100 dB (full-size encoder) to 136 per graph,
# 106 (full size) to 118 after the loop, and 74 in the finished hole. In a model of 2 M parameters one weight
# moved by its tensor's standard deviation stays below 70. One byte in ten off by one grey level is 58 dB.
FP32 = Thresholds(
    encoder_db=90.0,
    denoiser_db=90.0,
    decoder_db=90.0,
    latents_db=80.0,
    hole_db=50.0,
    ring_db=50.0,
    ratio=0.001,
    correlation=0.9999,
)
# The others, measured on nano: docs/quantization.md.
FP16 = Thresholds(
    encoder_db=50.0,
    denoiser_db=55.0,
    decoder_db=55.0,
    latents_db=50.0,
    hole_db=45.0,
    ring_db=45.0,
    ratio=0.02,
    correlation=0.99,
)
# The denoiser alone is quantized.
INT8 = Thresholds(
    encoder_db=90.0,
    denoiser_db=32.0,
    decoder_db=90.0,
    latents_db=30.0,
    hole_db=33.0,
    ring_db=33.0,
    ratio=0.1,
    correlation=0.9,
)
W8 = Thresholds(
    encoder_db=50.0,
    denoiser_db=42.0,
    decoder_db=50.0,
    latents_db=40.0,
    hole_db=38.0,
    ring_db=38.0,
    ratio=0.05,
    correlation=0.97,
)
# For size: it only has to be recognisably the same model.
W4 = Thresholds(
    encoder_db=40.0,
    denoiser_db=28.0,
    decoder_db=35.0,
    latents_db=28.0,
    hole_db=25.0,
    ring_db=25.0,
    ratio=0.2,
    correlation=0.8,
)
# Tables of 64 values cost 5 dB more on nano than those of 256: docs/coreml.md.
P6 = replace(
    W8,
    denoiser_db=36.0,
    latents_db=34.0,
    hole_db=32.0,
    ring_db=32.0,
    ratio=0.1,
    correlation=0.9,
)

OBSERVER = "mse"  # how ranges are read off a recording, unless somebody says otherwise
TARGET_DB = 40.0  # what a search aims at, unless somebody says otherwise: finished pictures against FP32's

PRECISIONS: dict[str, Precision] = {
    row.name: row
    for row in (
        Precision(
            "fp32",
            "floats of 32 bits (*FP32*)",
            "to compare with",
            FP32,
            f"{CONVERSIONS}:keep",
        ),
        Precision(
            "fp16",
            "floats of 16 bits (*FP16*)",
            "GPUs, phones",
            FP16,
            f"{CONVERSIONS}:to_half",
            frozenset({"float16"}),
            followed=True,
        ),
        Precision(
            "int8",
            "the denoiser computes in 8-bit integers (*INT8*)",
            "CPUs that multiply 8-bit integers fast",
            INT8,
            f"{CONVERSIONS}:to_int8",
            frozenset({"integer arithmetic"}),
            calibrated=True,
        ),
        Precision(
            "mixed",
            "as `int8`, but layers (operations with weights) that lose most stay floats",
            "as `int8`, closer",
            # Closer than INT8; the target that it was searched for is an average over many edits.
            replace(INT8, hole_db=36.0, ring_db=36.0),
            f"{CONVERSIONS}:to_mixed",
            frozenset({"integer arithmetic"}),
            calibrated=True,
            followed=True,
            searched=True,
        ),
        Precision(
            "w8",
            "large weights are stored in 8 bits and become floats to compute",
            "download size",
            W8,
            f"{CONVERSIONS}:to_8_bit_weights",
            frozenset({"8-bit weights"}),
        ),
        Precision(
            "w4",
            "the same in 4 bits",
            "download size",
            W4,
            f"{CONVERSIONS}:to_4_bit_weights",
            frozenset({"4-bit weights"}),
        ),
        Precision(
            "p8",
            "large weights are stored as indices into tables of 256 values (Core ML)",
            "download size",
            W8,  # as good as 8-bit integers
        ),
        Precision(
            "p6",
            "the same with tables of 64 values",
            "download size",
            P6,
        ),
        Precision(
            "p4",
            "the same with tables of 16 values",
            "download size",
            W4,  # for size, too
        ),
    )
}


def having(trait: Literal["calibrated", "searched"]) -> tuple[str, ...]:
    """Return the names of the precisions that are calibrated, or searched; the usual one first."""
    return tuple(row.name for row in PRECISIONS.values() if getattr(row, trait))
