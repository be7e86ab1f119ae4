"""What test vectors are made of: pictures and masks, and how arrays are written into JSON."""

import base64
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moebius_edge.inpaint.imaging import Bytes
from moebius_edge.inpaint.morphology import Box
from moebius_edge.inpaint.noise import PortableNoise, Stream


def model_picture(resolution: int) -> NDArray[np.float32]:
    """Return a stand-in for the decoder's output: element i of [3,R,R] is (37 i mod 101) / 100; [R,R,3]."""
    flat = (37 * np.arange(3 * resolution**2) % 101).astype(np.float32) / np.float32(100)
    return flat.reshape(3, resolution, resolution).transpose(1, 2, 0)


def picture(size: tuple[int, int]) -> Bytes:
    """Return [H,W,3]: smooth on the left, noise on the right, the extremes included."""
    width, height = size
    y, x, channel = np.indices((height, width, 3))
    smooth = (5 * x + 3 * y + 40 * channel) % 256
    noise = PortableNoise(5).normal(Stream.IMAGE, (height, width, 3)) * 90 + 128
    return np.where(x < width // 2, smooth, np.clip(noise, 0, 255)).astype(np.uint8)


def speckled(size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return a mask [H,W] of two parts, one of them at the edge."""
    width, height = size
    mask = np.zeros((height, width), np.bool_)
    mask[2:4, 3:7] = True
    mask[height - 1, width - 2 :] = True
    return mask


def boxed(size: tuple[int, int], boxes: tuple[Box, ...]) -> NDArray[np.bool_]:
    """Return a mask [H,W] of boxes, for a picture of `size` (width, height)."""
    mask = np.zeros(size[::-1], np.bool_)
    for left, top, right, bottom in boxes:
        mask[top:bottom, left:right] = True
    return mask


def as_bytes(values: NDArray[Any]) -> str:
    """Return bytes in base64: row by row, channels last; of a mask 0 and 1."""
    return base64.b64encode(np.ascontiguousarray(values).astype(np.uint8).tobytes()).decode()


def as_floats(values: NDArray[np.floating[Any]]) -> list[float]:
    """Return float32 values as the shortest numbers that read back, in row-major order."""
    return [float(str(value)) for value in np.asarray(values, np.float32).reshape(-1)]
