"""The export targets as data: which runtime opens the artifacts, in which precisions, from which forms."""

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from moebius_edge.bundle import Bundle
from moebius_edge.calibration.weight_forms import Form
from moebius_edge.errors import ExportError
from moebius_edge.export.forms import Forms


@dataclass(frozen=True)
class Target:
    """One row of the table of targets."""

    name: str  # as typed: `--target ort`
    runtime: str  # the runtime that opens the bundle
    precisions: tuple[str, ...]
    forms: Forms = field(default_factory=Forms)  # of the deploy graphs
    qdq: str = "onnxruntime"  # how the engine wants its Q/DQ: a name of `calibration.qdq.STYLES`
    weights: Form = "arithmetic"  # how integers become float weights: see `calibration.weight_forms`
    blocked: bool = True  # FP32 may run on blocks of channels, as x86-64 likes it best
    # What makes the artifacts of ONNX files: "module:function(folder, graphs, precision, checkpoint)".
    ship: str | None = None
    tools: tuple[str, ...] = ()  # packages that make the artifact, besides those of every export
    # What `moebius-edge doctor` asks about a bundle for this target: "module:function(bundle)".
    doctor: str | None = None


TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target(  # desktop and server CPUs
            "ort",
            "onnxruntime",
            ("fp32", "fp16", "int8", "mixed", "w8", "w4"),
        ),
        Target(  # Android and iOS
            "ort-mobile",
            "onnxruntime",
            # No w4: the engine's list of types for reduced builds does not know 4-bit integers.
            ("fp32", "fp16", "int8", "mixed", "w8"),
            weights="dequantize",  # arithmetic would be done when the .ort file is made, which then is FP32
            blocked=False,
            ship="moebius_edge.export.ort_mobile:ship",
            tools=("onnxruntime",),
            doctor="moebius_edge.export.usability:examine",
        ),
        Target(  # iOS and macOS
            "coreml",
            "coreml",
            ("fp32", "fp16"),
            ship="moebius_edge.export.coreml.package:ship",
            tools=("coremltools",),
        ),
    )
}


def find_doctor(target: str) -> Callable[[Bundle], Any]:
    """What examines a bundle for a target. Raises ExportError for a target that has nothing of the kind."""
    row = TARGETS.get(target)
    if row is None or row.doctor is None:
        known = ", ".join(name for name, other in TARGETS.items() if other.doctor)
        why = "is not known" if row is None else "has no accelerators to examine"
        raise ExportError(f"the target {target} {why}; choose --target: {known}")
    return load_function(row.doctor)


def load_function(name: str) -> Callable[..., Any]:
    """What "module:function" in the table stands for; imported late, because it needs the target's tools."""
    module, function = name.split(":")
    found: Callable[..., Any] = getattr(import_module(module), function)
    return found
