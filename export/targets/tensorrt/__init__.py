"""Build TensorRT engines of the same ONNX graphs, here or, by a build kit, on the box that runs them."""

from moebius_edge.export.rewrites.forms import CUDA, GPU_INT8
from moebius_edge.export.targets.target import Target
from moebius_edge.export.targets.tensorrt.builder import VALUES

KIT = "build.py"

TARGET = Target(
    "tensorrt",
    runtime="tensorrt",
    runs_on="NVIDIA GPUs, by TensorRT",
    state="TensorRT engine files, graphs compiled for NVIDIA GPUs, are built without a GPU or on the box. "
    "They were not run on a GPU yet. What was checked: their inputs and outputs are the graphs'; ONNX "
    "Runtime computes the right numbers from the graphs that they are built of; the loop is right on "
    "a simulated device. [More](docs/tensorrt.md#tensorrt).",
    order=4,
    default="fp16",
    takes=frozenset({"float16", "integer arithmetic"}),
    forms=CUDA,
    quantized_forms=GPU_INT8,
    qdq="tensorrt",
    weights="dequantize",
    settings={
        **{name: VALUES[name] for name in ("workspace", "optimization", "compatible")},
        "timing_cache": ("no", "yes"),
    },
    only={"fp32": {"tf32": VALUES["tf32"]}, "integer arithmetic": {"floats": ("float16",)}},
    ship="moebius_edge.export.targets.tensorrt.target:ship",
    ready="moebius_edge.export.targets.tensorrt.target:ready",
    kit="moebius_edge.export.targets.tensorrt.target:kit",
    kit_file=KIT,
    kit_steps=(
        f"on the box: python {{folder}}/{KIT} --output engines",
        "then: moebius-edge import-engine KIT engines --output BUNDLE",
    ),
    take_back="moebius_edge.export.targets.tensorrt.engines:import_engines",
    extra="tensorrt",
    made_by="moebius_edge.export.targets.tensorrt.target:made_by",
)
