"""The runtimes as data: a row each. Imports no engine."""

from dataclasses import dataclass
from typing import NamedTuple


class System(NamedTuple):
    """An operating system."""

    platform: str  # as `sys.platform` has it
    name: str  # for people


@dataclass(frozen=True)
class RuntimeEntry:
    """One row of the table of runtimes."""

    name: str  # as typed: `--runtime onnxruntime`
    factory: str  # "module:callable(bundle, threads)", with `units` "(bundle, threads, unit)"
    help: str  # what runs what
    # The runtime that the files are made for which this one opens: its own name, or that of the engine that
    # it stands in for. None: it opens no files, but takes the checkpoint that any bundle was made from.
    opens: str | None = None
    extra: str = ""  # of the package that it is in: brings the engine; "": it is always there
    engines: tuple[str, ...] = ()  # packages whose versions matter to what it computes
    # Compute units that it may be told to use, the one that apps use first; none: there is nothing to choose.
    units: tuple[str, ...] = ()
    system: System | None = None  # the only one that has it; None: all have
    instead: str | None = None  # the runtime that opens its bundles on other systems
    stands_in: str = ""  # what to say of it where it runs another engine's bundles
    where: str = ""  # what to say of the machine that is needed, before a command to type
    package: str = "moebius-edge"  # whose row this is; the registry notes it


MACOS = System("darwin", "macOS")

OWN = (
    RuntimeEntry(
        "onnxruntime",
        "moebius_edge.runtimes.onnxruntime:OnnxRuntime",
        "ONNX Runtime on the CPU: `.onnx` and `.ort` files",
        opens="onnxruntime",
        engines=("onnxruntime",),
    ),
    RuntimeEntry(
        "torch",
        "moebius_edge.runtimes.reference:open_reference",
        "the FP32 PyTorch reference",
        extra="export",
        engines=("torch",),
    ),
    RuntimeEntry(
        "cuda",
        "moebius_edge.export.cuda:open_cuda",
        "the model in FP16 on an NVIDIA GPU, by torch",
        extra="export",
        engines=("torch",),
    ),
    RuntimeEntry(
        "cuda-compiled",
        "moebius_edge.export.cuda:open_compiled",
        "the same, compiled: a minute or more until the first result",
        extra="export",
        engines=("torch",),
    ),
    RuntimeEntry(
        "tensorrt",
        "moebius_edge.runtimes.tensorrt:TensorRTRuntime",
        "TensorRT engine files on NVIDIA GPUs",
        opens="tensorrt",
        extra="tensorrt",
        engines=("tensorrt", "tensorrt_rtx", "cuda-bindings"),
        where="on the machine with the GPU",
    ),
    RuntimeEntry(
        "coreml",
        "moebius_edge.runtimes.coreml:CoreMLRuntime",
        "Core ML on a Mac: `.mlpackage` files",
        opens="coreml",
        extra="coreml",
        engines=("coremltools",),
        units=("CPU_AND_NE", "CPU_AND_GPU", "CPU_ONLY", "ALL"),
        system=MACOS,
        instead="mil",
    ),
    RuntimeEntry(
        "mil",
        "moebius_edge.runtimes.mil:MilRuntime",
        "the files of `coreml`, interpreted on any system (MIL is Core ML's language)",
        opens="coreml",
        extra="coreml",
        engines=("coremltools", "torch"),
        stands_in="an interpreter of Core ML's packages",
    ),
)
