"""Print what `export` says of a precision: what was converted, and what it gains and costs here."""

import json
from typing import TYPE_CHECKING, Any

from moebius_edge.cli import show
from moebius_edge.common.explain import printable
from moebius_edge.common.progress import stages

if TYPE_CHECKING:
    from moebius_edge.bundle.folder import Bundle
    from moebius_edge.checkpoints.checkpoint import Checkpoint

REASONS = 4  # nodes that are named per graph; all are in the file


def print_conversion(bundle: "Bundle") -> None:
    """Print the main lines of the bundle's `precision.json`, if it has one."""
    from moebius_edge.export.build import REPORT  # noqa: PLC0415

    if REPORT not in bundle.manifest.files:
        return
    report = json.loads(bundle.file(REPORT).read_text())
    lines = [*_coverage(report.get("coverage")), *_mix(report.get("mix"))]
    for name, graph in {**report.get("graphs", {}), **report.get("fp16", {})}.items():
        lines += _halves(name, graph) if "rescaled" in graph else _integers(name, graph)
    for line in [*lines, f"what was converted, what was kept and why: {bundle.file(REPORT)}"]:
        show.out().print(line, markup=False)


def print_payoff(checkpoint: "Checkpoint", bundle: "Bundle") -> None:
    """Print the gain of the bundle's precision, and warnings.

    The bundle is already in its place, so an error of the comparison is only one more warning.
    """
    from moebius_edge.common.errors import MoebiusError  # noqa: PLC0415
    from moebius_edge.export.payoff import measure_payoff  # noqa: PLC0415

    console = show.out()
    try:
        with stages(str(bundle.folder)) as say:
            payoff = measure_payoff(checkpoint, bundle, say)
    except (MoebiusError, MemoryError, OSError) as error:
        warnings = [f"it could not be compared with fp32: {printable(str(error) or type(error).__name__)}"]
    else:
        console.print(payoff.sentence(), markup=False)
        warnings = payoff.warnings()
    for warning in warnings:
        console.print(f"WARNING  {warning}", markup=False, style="yellow")


def _first(names: list[str]) -> str:
    return ", ".join(names[:REASONS]) + (", ..." if len(names) > REASONS else "")


def _coverage(found: dict[str, Any] | None) -> list[str]:
    if found is None:
        return []
    share = 100 * found["quantized_macs"] / found["macs"]
    return [
        f"ONNX Runtime runs {found['layers']} of {found['wished']} quantized layers in INT8: {share:.1f} % "
        "of all multiply-accumulates of a step"
    ]


def _mix(found: dict[str, Any] | None) -> list[str]:
    if found is None:
        return []
    score, kept = found["score"], found["kept"]
    return [
        f"{len(kept)} of {found['layers']} layers stay floats: {_first(kept) or 'none'}; float weights are "
        f"stored in {found['float_weight_bits']} bits",
        f"calibration edits: {score['mean_db']:.1f} dB, worst {score['worst_db']:.1f}; target "
        f"{found['target_db']:g} dB",
    ]


def _halves(name: str, graph: dict[str, Any]) -> list[str]:
    kept = graph["kept"]
    named = _first([f"{entry['node']} ({entry['reason']})" for entry in kept])
    return [
        f"{name}: {len(kept)} of {graph['nodes']} nodes stay FP32{': ' if kept else ''}{named}; "
        f"{len(graph['rescaled'])} rescaled"
    ]


def _integers(name: str, graph: dict[str, Any]) -> list[str]:
    return [
        f"{name}: {len(graph['quantized'])} weights in {graph['bits']} bits, {len(graph['kept'])} kept; "
        f"{show.size(graph['fp32_bytes'])} -> {show.size(graph['bytes'])}"
    ]
