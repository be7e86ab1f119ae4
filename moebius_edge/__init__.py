"""Moebius image inpainting, from the PyTorch checkpoint to phones, browsers and edge boxes."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moebius_edge.inpainter import Inpainter, InpaintOptions

__version__ = "0.1.0"
__all__ = ["InpaintOptions", "Inpainter", "__version__"]


def __getattr__(name: str) -> Any:
    # Late, so that the command line's help does not wait for numpy, Pillow and an engine.
    if name in ("Inpainter", "InpaintOptions"):
        from moebius_edge import inpainter  # noqa: PLC0415

        return getattr(inpainter, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
