"""Moebius image inpainting, from the PyTorch checkpoint to phones, browsers and edge boxes."""

__version__ = "0.1.0"
