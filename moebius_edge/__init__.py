"""Moebius image inpainting, from the PyTorch checkpoint to phones, browsers and edge boxes.

What most programs need is here: `from moebius_edge import Inpainter`. Each name is imported at its first use.
"""

from moebius_edge.common.telemetry import switch_off

TYPE_CHECKING = False  # as in `typing`, whose import would be the longest wait for an early Ctrl-C
if TYPE_CHECKING:
    from typing import Any

    from moebius_edge.bundle.folder import Bundle
    from moebius_edge.checking.profile import profile
    from moebius_edge.checking.verify import verify
    from moebius_edge.checkpoints.load import load_checkpoint
    from moebius_edge.export.build import export_bundle
    from moebius_edge.inpainter import Inpainter, InpaintOptions

switch_off()  # before any engine is imported: all of this project's modules come after this one

__version__ = "0.1.0"
__all__ = [
    "Bundle",
    "InpaintOptions",
    "Inpainter",
    "__version__",
    "export_bundle",
    "load_checkpoint",
    "profile",
    "verify",
]

# Name -> the module that has it.
_API = {
    "Bundle": "moebius_edge.bundle.folder",
    "InpaintOptions": "moebius_edge.inpainter",
    "Inpainter": "moebius_edge.inpainter",
    "export_bundle": "moebius_edge.export.build",
    "load_checkpoint": "moebius_edge.checkpoints.load",
    "profile": "moebius_edge.checking.profile",
    "verify": "moebius_edge.checking.verify",
}


def __getattr__(name: str) -> "Any":
    # Late, so that the command line's help does not wait for numpy, Pillow and an engine.
    if name in _API:
        from importlib import import_module  # noqa: PLC0415

        return getattr(import_module(_API[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
