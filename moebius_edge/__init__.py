"""Moebius image inpainting, from the PyTorch checkpoint to phones, browsers and edge boxes."""

TYPE_CHECKING = False  # as in `typing`, whose import would be the longest wait for an early Ctrl-C
if TYPE_CHECKING:
    from typing import Any

    from moebius_edge.inpainter import Inpainter, InpaintOptions

__version__ = "0.1.0"
__all__ = ["InpaintOptions", "Inpainter", "__version__"]


def __getattr__(name: str) -> "Any":
    # Late, so that the command line's help does not wait for numpy, Pillow and an engine.
    if name in ("Inpainter", "InpaintOptions"):
        from moebius_edge import inpainter  # noqa: PLC0415

        return getattr(inpainter, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
