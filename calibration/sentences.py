"""Say what a conversion did, for people: the lines of a report's "summary", which `export` prints."""

from collections.abc import Sequence

from moebius_edge.calibration.fp16.convert import Fp16Report
from moebius_edge.calibration.int8.coverage import Coverage
from moebius_edge.calibration.int8.mixed import Mix
from moebius_edge.calibration.weights.quantize import WeightReport
from moebius_edge.common.units import size

NAMED = 4  # layers or nodes that are named in a line; all are in the report


def of_halves(graph: str, report: Fp16Report) -> str:
    """Say how much of a graph stays FP32."""
    named = _first([f"{entry.node} ({entry.reason})" for entry in report.kept])
    return (
        f"{graph}: {len(report.kept)} of {report.nodes} nodes stay FP32{': ' if report.kept else ''}{named}; "
        f"{len(report.rescaled)} rescaled"
    )


def of_weights(graph: str, report: WeightReport) -> str:
    """Say how many weights of a graph are integers, and what that saves."""
    return (
        f"{graph}: {len(report.quantized)} weights in {report.bits} bits, {len(report.kept)} kept; "
        f"{size(report.fp32_bytes)} -> {size(report.bytes)}"
    )


def of_mix(mix: Mix, bits: int) -> list[str]:
    """Say which layers stay floats, whose weights are stored in `bits`, and how close that is."""
    return [
        f"{len(mix.kept)} of {mix.layers} layers stay floats: {_first(mix.kept) or 'none'}; float weights "
        f"are stored in {bits} bits",
        f"calibration edits: {mix.score.mean_db:.1f} dB, worst {mix.score.worst_db:.1f}; target "
        f"{mix.target_db:g} dB",
    ]


def of_coverage(found: Coverage) -> str:
    """Say how much of a step the engine runs in integers."""
    return (
        f"ONNX Runtime runs {found.layers} of {found.wished} quantized layers in INT8: "
        f"{100 * found.quantized_macs / found.macs:.1f} % of all multiply-accumulates of a step"
    )


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
