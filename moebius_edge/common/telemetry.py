"""Switch off what engines send about their use: one row for each engine and library, with what was found.

The package imports this module before anything else, so that it comes before every engine. It imports nothing
but `os`: what it takes is time in which Ctrl-C is not answered yet. Rows are compared with what
`pyproject.toml` asks for, so that nobody adds an engine without looking at it.
"""

import os

NOTHING = "nothing was found"


class Row:
    """What an engine or library sends about its use, and what stops it. No dataclass: that imports more."""

    def __init__(self, name: str, packages: tuple[str, ...], sends: str, variable: str = "") -> None:
        self.name = name  # for people, with the version that was looked at
        self.packages = packages  # as package registries call them
        self.sends = sends  # without the switch
        self.variable = variable  # of the environment, set to SWITCHED_OFF; "": there is nothing to switch


SWITCHED_OFF = "1"
ONNX_RUNTIME = "ORT_DISABLE_TELEMETRY"
ROWS = (
    # docs/Privacy.md of microsoft/onnxruntime: on Linux, macOS, Android and iOS since 1.29. The variable is
    # read once, when the engine is initialized. Windows has another way: see `runtimes/onnxruntime.py`.
    # Events wait in the cache folder until they are sent.
    Row(
        "ONNX Runtime 1.32",
        ("onnxruntime",),
        "names of graphs and files, error texts, versions",
        ONNX_RUNTIME,
    ),
    Row("ONNX Runtime 1.30 for Android", ("onnxruntime-android",), "the same", ONNX_RUNTIME),
    Row("ONNX Runtime 1.30 for the web", ("onnxruntime-web",), "nothing: it is left out of WebAssembly"),
    # Downloads name the versions of other packages and what program asks; hf_xet, which fetches large files,
    # reports how that went and names the same variable. diffusers goes through this client.
    Row(
        "huggingface_hub 2.4, hf_xet 1.8",
        ("huggingface-hub", "hf-xet", "diffusers"),
        "versions, times, with each download",
        "HF_HUB_DISABLE_TELEMETRY",
    ),
    Row("Core ML, by coremltools 9", ("coremltools",), NOTHING),
    Row("PyTorch 2.13", ("torch",), NOTHING),
    Row("TensorRT for RTX 1.7", ("tensorrt-rtx", "cuda-bindings"), NOTHING),
    Row(
        "other libraries",
        (
            *("comlink", "fast-png", "flatbuffers", "matplotlib", "numpy", "onnx", "onnxscript", "onnxsim"),
            *("packaging", "pillow", "pillow-heif", "rich", "safetensors", "scikit-image", "scipy", "typer"),
        ),
        NOTHING,
    ),
)


def switch_off() -> None:
    """Set the variables of all rows for this process and those it starts, unless the user has set them."""
    for row in ROWS:
        if row.variable:
            os.environ.setdefault(row.variable, SWITCHED_OFF)


def is_switched_off(variable: str) -> bool:
    """Return whether a row's variable says so; a user may have set it to something else."""
    return os.environ.get(variable, "").strip().lower() in ("1", "true", "yes", "on", "y")
