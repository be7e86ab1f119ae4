"""The export targets as data: which runtime opens the artifacts, in which precisions, from which forms."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from moebius_edge.bundle.folder import Bundle
from moebius_edge.calibration.weights.encodings import WeightEncoding
from moebius_edge.common.errors import ExportError
from moebius_edge.export.rewrites.forms import (
    CPU,
    CPU_INT8,
    CUDA,
    GPU_INT8,
    NEURAL_ENGINE,
    NEURAL_ENGINE_INT8,
    Forms,
)
from moebius_edge.export.targets.tensorrt.builder import VALUES

HALF_OR_FLOAT = ("float16", "float32")  # of the setting `floats`: what INT8 leaves as floats
# Encoder and decoder beside a denoiser in INT8; in fp32 they are 59 % of a full-size bundle.
AUTOENCODER = {"autoencoder": ("fp32", "fp16", "w8")}


@dataclass(frozen=True)
class Target:
    """One row of the table of targets."""

    name: str  # as typed: `--target ort`
    runtime: str  # the runtime that opens the bundle
    precisions: tuple[str, ...]  # the first one is the default
    forms: Forms = CPU  # of the deploy graphs
    qdq: str = "onnxruntime"  # how the engine wants its Q/DQ: a name of `QDQ_STYLES`
    weights: WeightEncoding = "arithmetic"  # how integers become float weights
    quantized_forms: Forms = CPU_INT8  # of graphs whose denoiser is in INT8
    blocked: bool = True  # FP32 may run on blocks of channels, as x86-64 likes it best
    # What makes the artifacts of ONNX files: "module:function(folder, graphs, options, checkpoint)".
    ship: str | None = None
    # What finds out before anything takes time whether that can be done: "module:function(settings, kit)".
    ready: str | None = None
    # What adds to the ONNX files what it takes to do that elsewhere: "module:function(folder, graphs)".
    kit: str | None = None
    # Precisions that `ship` makes of the ONNX graphs of another one.
    made_of: Mapping[str, str] = field(default_factory=dict)
    # What can be set for `ship` by name: the values that are possible, the default first.
    settings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    # Precision -> settings that only it has, or of which it allows only some values.
    only: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    tools: tuple[str, ...] = ()  # packages that make the artifact, besides those of every export
    made_by: str | None = None  # where that is found out: "module:function()", name -> version
    # What `moebius-edge doctor` asks about a bundle for this target: "module:function(bundle)".
    doctor: str | None = None

    def graphs_of(self, precision: str) -> str:
        """The precision of the ONNX graphs that the artifacts of a precision are made of."""
        return self.made_of.get(precision, precision)

    def possible(self, precision: str) -> dict[str, tuple[str, ...]]:
        """What can be set for a precision: the values of each setting, the default first."""
        return {**self.settings, **self.only.get(precision, {})}


TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target(  # desktop and server CPUs
            "ort",
            "onnxruntime",
            ("fp32", "fp16", "int8", "mixed", "w8", "w4"),
            only={"int8": AUTOENCODER, "mixed": AUTOENCODER},
        ),
        Target(  # Android and iOS
            "ort-mobile",
            "onnxruntime",
            # No w4: the engine's list of types for reduced builds does not know 4-bit integers.
            ("fp32", "fp16", "int8", "mixed", "w8"),
            weights="dequantize",  # arithmetic would be done when the .ort file is made, which then is FP32
            blocked=False,
            only={"int8": AUTOENCODER, "mixed": AUTOENCODER},
            ship="moebius_edge.export.targets.ort_mobile.target:ship",
            tools=("onnxruntime",),
            doctor="moebius_edge.export.doctor.usability:examine",
        ),
        Target(  # iOS and macOS
            "coreml",
            "coreml",
            ("fp16", "fp32", "int8", "mixed", "w8", "w4", "p8", "p6", "p4"),
            qdq="coreml",
            weights="dequantize",
            forms=NEURAL_ENGINE,
            quantized_forms=NEURAL_ENGINE_INT8,
            made_of=dict.fromkeys(("w8", "w4", "p8", "p6", "p4"), "fp16"),
            settings={"deployment": ("iOS17", "iOS16", "iOS18")},  # the oldest system to run on
            only={
                "int8": {"deployment": ("iOS17", "iOS18"), "floats": HALF_OR_FLOAT},
                "mixed": {"deployment": ("iOS17", "iOS18"), "floats": HALF_OR_FLOAT},
                "w4": {"deployment": ("iOS18",)},
            },
            ready="moebius_edge.export.targets.coreml.ready:ready",
            ship="moebius_edge.export.targets.coreml.package:ship",
            tools=("coremltools",),
            doctor="moebius_edge.export.targets.coreml.neural_engine:examine",
        ),
        Target(  # NVIDIA GPUs
            "tensorrt",
            "tensorrt",
            ("fp16", "fp32", "int8", "mixed"),
            forms=CUDA,
            quantized_forms=GPU_INT8,
            qdq="tensorrt",
            weights="dequantize",
            settings={
                **{name: VALUES[name] for name in ("workspace", "optimization", "compatible")},
                "timing_cache": ("no", "yes"),
            },
            only={
                "fp32": {"tf32": VALUES["tf32"]},
                "int8": {"floats": ("float16",)},
                "mixed": {"floats": ("float16",)},
            },
            ship="moebius_edge.export.targets.tensorrt.target:ship",
            ready="moebius_edge.export.targets.tensorrt.target:ready",
            kit="moebius_edge.export.targets.tensorrt.target:kit",
            made_by="moebius_edge.export.targets.tensorrt.target:made_by",
        ),
    )
}


def find_doctor(target: str) -> Callable[[Bundle], Any]:
    """What examines a bundle for a target. Raises ExportError for a target that has nothing of the kind."""
    row = TARGETS.get(target)
    if row is None or row.doctor is None:
        known = " and ".join(name for name, other in TARGETS.items() if other.doctor)
        why = "is not known" if row is None else "has no rules to examine a bundle by"
        raise ExportError(f"the target {target} {why}; bundles exported for {known} can be examined")
    return load_function(row.doctor)


def load_function(name: str) -> Callable[..., Any]:
    """What "module:function" in the table stands for; imported late, because it needs the target's tools."""
    module, function = name.split(":")
    found: Callable[..., Any] = getattr(import_module(module), function)
    return found
