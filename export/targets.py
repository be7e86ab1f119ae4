"""The export targets as data: which runtime opens the artifacts, in which precisions, from which forms."""

from dataclasses import dataclass, field
from typing import Literal

from moebius_edge.export.forms import Forms


@dataclass(frozen=True)
class Target:
    """One row of the table of targets."""

    name: str  # as typed: `--target ort`
    runtime: str  # the runtime that opens the bundle
    precisions: tuple[str, ...]
    description: str
    forms: Forms = field(default_factory=Forms)  # of the deploy graphs
    qdq: str = "onnxruntime"  # how the engine wants its Q/DQ: a name of `calibration.qdq.STYLES`
    artifact: Literal["onnx", "ort"] = "onnx"  # what the bundle ships
    tools: tuple[str, ...] = ()  # packages that make the artifact, besides those of every export


TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target(
            "ort",
            "onnxruntime",
            ("fp32", "fp16", "int8", "w8", "w4"),
            "ONNX Runtime on desktop and server CPUs",
        ),
        Target(
            "ort-mobile",
            "onnxruntime",
            ("fp32",),
            "ONNX Runtime Mobile: .ort files for Android and iOS",
            artifact="ort",
            tools=("onnxruntime",),
        ),
    )
}
