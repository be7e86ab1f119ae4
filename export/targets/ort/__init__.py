"""ONNX Runtime on desktop and server CPUs: the ONNX graphs as they are."""

from moebius_edge.export.targets.onnx_settings import AUTOENCODER
from moebius_edge.export.targets.target import Target

TARGET = Target(
    "ort",
    runtime="onnxruntime",
    runs_on="CPUs of desktops and servers, by ONNX Runtime",
    state="works. [What each precision costs](docs/quantization.md).",
    extra="export",
    order=1,
    takes=frozenset({"float16", "integer arithmetic", "8-bit weights", "4-bit weights"}),
    only={"integer arithmetic": AUTOENCODER},
    platforms=("web", "android"),
)
