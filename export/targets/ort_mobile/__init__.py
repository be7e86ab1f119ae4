"""ONNX Runtime Mobile: the same graphs as .ort files, for Android and iOS."""

from moebius_edge.export.targets.onnx_settings import AUTOENCODER
from moebius_edge.export.targets.target import Target

TARGET = Target(
    "ort-mobile",
    runtime="onnxruntime",
    runs_on="Android and iOS, by ONNX Runtime Mobile (`.ort` files)",
    state="works on a computer. It was not run on a phone yet. [More](docs/mobile.md).",
    extra="export",
    order=2,
    # No 4-bit weights: the engine's list of types for reduced builds does not know 4-bit integers.
    takes=frozenset({"float16", "integer arithmetic", "8-bit weights"}),
    weights="dequantize",  # arithmetic would be done when the .ort file is made, which then is FP32
    blocked=False,
    only={"integer arithmetic": AUTOENCODER},
    ship="moebius_edge.export.targets.ort_mobile.target:ship",
    tools=("onnxruntime",),
    doctor="moebius_edge.export.targets.ort_mobile.usability:examine",
    doctor_help="XNNPACK (a library for CPUs), CoreML (Apple) and QNN (Qualcomm's chip for neural networks)",
    platforms=("android", "web"),
)
