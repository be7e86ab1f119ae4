"""One module per way to run a bundle's graphs, behind one small protocol. Engines are imported late."""

import sys
from importlib import import_module
from typing import cast

from moebius_edge.bundle.folder import Bundle
from moebius_edge.common.errors import InvalidInput, RuntimeUnavailable
from moebius_edge.common.explain import install
from moebius_edge.inpaint.runtime import Runtime

MAX_THREADS = 1024  # more than any machine this is for has cores; engines start as many as they are told


# Runtime name -> "module:callable(bundle, threads)".
RUNTIMES: dict[str, str] = {
    "onnxruntime": "moebius_edge.runtimes.onnxruntime:OnnxRuntime",
    "torch": "moebius_edge.runtimes.reference:open_reference",
    "cuda": "moebius_edge.export.cuda:open_cuda",
    "cuda-compiled": "moebius_edge.export.cuda:open_compiled",
    "tensorrt": "moebius_edge.runtimes.tensorrt:TensorRTRuntime",
    "coreml": "moebius_edge.runtimes.coreml:CoreMLRuntime",
    "mil": "moebius_edge.runtimes.mil:MilRuntime",
}
# Runtime that not every system has -> the system, and what runs its bundles elsewhere.
ELSEWHERE = {"coreml": ("darwin", "mil")}
SYSTEMS = {"darwin": "macOS"}  # sys.platform for people
# Runtime -> the compute units that it may be told to use, the one that apps use first; others have one.
UNITS = {"coreml": ("CPU_AND_NE", "CPU_AND_GPU", "CPU_ONLY", "ALL")}
# Runtime -> the packages whose versions matter to what it computes.
ENGINES = {
    "onnxruntime": ("onnxruntime",),
    "torch": ("torch",),
    "cuda": ("torch",),
    "cuda-compiled": ("torch",),
    "tensorrt": ("tensorrt", "tensorrt_rtx", "cuda-bindings"),
    "coreml": ("coremltools",),
    "mil": ("coremltools", "torch"),
}
# The extra of pyproject.toml that brings a runtime's engine.
EXTRAS = {
    "torch": "export",
    "cuda": "export",
    "cuda-compiled": "export",
    "tensorrt": "tensorrt",
    "coreml": "coreml",
    "mil": "coreml",
}
# Runtime that opens the files of a bundle -> the one that these are made for. The others take its checkpoint.
OPENS = {"onnxruntime": "onnxruntime", "tensorrt": "tensorrt", "coreml": "coreml", "mil": "coreml"}
# What runs bundles of another engine -> what to say of it.
STAND_INS = {"mil": "an interpreter of Core ML's packages"}


def default_runtime(bundle: Bundle) -> str:
    """The runtime that the bundle was made for, or what stands in for it on this system."""
    made_for = bundle.manifest.runtime
    system, instead = ELSEWHERE.get(made_for, (sys.platform, made_for))
    return made_for if sys.platform == system else instead


def units_of(name: str) -> tuple[str, ...]:
    """The compute units of a runtime."""
    return UNITS.get(name, ("default",))


def open_runtime(
    bundle: Bundle, name: str | None = None, threads: int | None = None, unit: str | None = None
) -> Runtime:
    """The runtime `name` (None: `default_runtime`) on `threads` CPU threads (None: all) and a compute unit.

    `unit`: one of `units_of` (None: the first). Raises InvalidInput for an impossible number of threads, and
    RuntimeUnavailable when the name is unknown or the engine is not installed.
    """
    if threads is not None and not 1 <= threads <= MAX_THREADS:
        raise InvalidInput(f"threads is {threads}; expected 1 to {MAX_THREADS}, or none for all cores")
    if name is None:
        name = default_runtime(bundle)
        if name != (made_for := bundle.manifest.runtime):
            system = SYSTEMS[ELSEWHERE[made_for][0]]
            print(
                f"note: {made_for} needs {system}; here {name}, {STAND_INS[name]}, stands in for it",
                file=sys.stderr,
            )
    require_fitting(bundle, name)
    module, attribute = RUNTIMES[name].split(":")
    try:
        factory = getattr(import_module(module), attribute)
    except ImportError as error:
        raise RuntimeUnavailable(
            f"the runtime {name!r} needs {error.name}, which cannot be imported; "
            f"{install(EXTRAS.get(name, ''))}"
        ) from error
    chosen = {"unit": unit} if name in UNITS and unit is not None else {}
    return cast(Runtime, factory(bundle, threads, **chosen))


def require_fitting(bundle: Bundle, name: str) -> None:
    """Raise RuntimeUnavailable for a runtime that is not known, or cannot open this bundle's files."""
    made_for = bundle.manifest.runtime
    if name not in RUNTIMES:
        do = "update moebius-edge" if name == made_for else f"leave it away for {default_runtime(bundle)}"
        raise RuntimeUnavailable(
            f"the runtime {name!r} is not known here; known are {', '.join(RUNTIMES)}: {do}"
        )
    if OPENS.get(name, made_for) != made_for:
        fitting = [known for known in RUNTIMES if OPENS.get(known, made_for) == made_for]
        raise RuntimeUnavailable(
            f"{bundle.folder.resolve().name} was made for {made_for}, whose files {name} cannot open; "
            f"choose one of {', '.join(fitting)}"
        )
