"""Export to Core ML: the same ONNX graphs as ML programs in .mlpackage files. Runs on Linux and macOS."""

from moebius_edge.export.rewrites.forms import NEURAL_ENGINE, NEURAL_ENGINE_INT8
from moebius_edge.export.targets.target import Target

TARGET = Target(
    "coreml",
    runtime="coreml",
    runs_on="iOS 17, macOS 14 and newer (iOS 16 and macOS 13: --set deployment=iOS16), by Core ML",
    state="its files (`.mlpackage`) are made on Linux, and checked there by a program that computes what "
    "they contain. Core ML itself has not run them yet. `moebius-edge prove` on a Mac runs them on each of "
    "its processors, tests and times them. [More](docs/coreml.md).",
    order=3,
    default="fp16",
    takes=frozenset({"float16", "integer arithmetic"}),
    made_of=dict.fromkeys(("w8", "w4", "p8", "p6", "p4"), "fp16"),
    forms=NEURAL_ENGINE,
    quantized_forms=NEURAL_ENGINE_INT8,
    qdq="coreml",
    weights="dequantize",
    settings={"deployment": ("iOS17", "iOS16", "iOS18")},  # the oldest system to run on
    only={
        # What INT8 leaves as floats.
        "integer arithmetic": {"deployment": ("iOS17", "iOS18"), "floats": ("float16", "float32")},
        "4-bit weights": {"deployment": ("iOS18",)},
    },
    ready="moebius_edge.export.targets.coreml.ready:ready",
    ship="moebius_edge.export.targets.coreml.package:ship",
    doctor="moebius_edge.export.targets.coreml.neural_engine:examine",
    doctor_help="the Neural Engine, and what is slow there",
    platforms=("ios",),
    extra="coreml",
    tools=("coremltools",),
)
