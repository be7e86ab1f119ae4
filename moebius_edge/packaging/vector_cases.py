"""What the test vectors are computed of: seeds, sizes, boxes, options."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from moebius_edge.inpaint import morphology
from moebius_edge.inpaint.imaging import Bytes
from moebius_edge.inpaint.noise import PortableNoise, Stream
from moebius_edge.inpaint.solvers.ddim import DDIM
from moebius_edge.inpaint.solvers.dpm import DPM

SEEDS = (0, 1, 7, 0xFFFFFFFF, 0x0123456789ABCDEF, 2**64 - 1)
BLOCKS = (0, 1, 1023, 262143)
SCHEDULES = ((20, 0.99), (20, 1.0), (5, 0.99), (1, 1.0), (7, 0.5), (50, 0.8), (1000, 0.01))
FIRST_ROWS = [DDIM().coefficients(*length)[:1] for length in SCHEDULES[:3]]
UPDATES = (*FIRST_ROWS, DPM().coefficients(8, 0.99), DDIM().coefficients(*SCHEDULES[2]))
# Box (left, top, right, bottom), photo (width, height), resolution, margin, feather.
CROPS: tuple[tuple[morphology.Box, tuple[int, int], int, float, int], ...] = (
    ((100, 120, 180, 260), (1024, 768), 512, 0.25, 8),  # the photo's own resolution
    ((0, 0, 10, 10), (4000, 3000), 512, 0.25, 8),  # in a corner
    ((3990, 2990, 4000, 3000), (4000, 3000), 512, 0.25, 8),  # in the opposite one
    ((500, 400, 2100, 1500), (4000, 3000), 512, 0.25, 8),  # scaled down
    ((10, 10, 60, 60), (300, 200), 512, 0.25, 8),  # a small photo
    ((0, 40, 3000, 80), (3000, 400), 512, 0.25, 8),  # longer than the photo is high: mirrored
    ((100, 120, 180, 260), (1024, 768), 256, 1.0, 8),  # as much context as the model is large
    ((100, 120, 500, 260), (4000, 3000), 256, 1.0, 8),  # as the hole is
    ((100, 120, 180, 260), (1024, 400), 256, 1.0, 8),  # as the photo has
    ((400, 50, 700, 350), (1000, 590), 256, 1.0, 8),  # half of the hole on each side, partly mirrored
    ((5, 5, 8, 9), (37, 23), 32, 0.5, 0),
    ((20, 3, 30, 22), (64, 24), 32, 0.0, 4),
    ((1, 2, 32, 31), (33, 47), 32, 0.05, 1),  # halves are rounded to even
)
SIZES = (  # width and height before and after
    ((7, 5), (16, 16), "lanczos"),
    ((40, 40), (32, 32), "lanczos"),
    ((64, 64), (24, 24), "lanczos"),
    ((32, 32), (32, 32), "lanczos"),
    ((16, 16), (23, 23), "lanczos"),
    ((90, 90), (32, 32), "box"),
    ((20, 20), (32, 32), "box"),
)
# Photo (width, height), the hole's box, resolution and size of the latents, options.
EDITS: tuple[tuple[tuple[int, int], morphology.Box, dict[str, Any]], ...] = (
    ((100, 80), (40, 24, 60, 44), {}),
    ((100, 80), (40, 24, 60, 44), {"margin": 0.25}),  # at the photo's own resolution
    ((100, 80), (3, 2, 31, 54), {"feather": 3, "dilate": 2}),
    ((100, 80), (95, 78, 100, 80), {}),  # in the last rows and columns of the square (step 5)
    ((45, 39), (0, 0, 9, 8), {"feather": 0, "margin": 0.0}),
    ((140, 40), (5, 16, 126, 23), {"feather": 5}),
    ((66, 70), (10, 14, 30, 29), {"blend": "feather", "feather": 4}),
    ((140, 120), (90, 60, 130, 95), {"dilate": 1}),  # the second pass is scaled down, too
    ((100, 80), (40, 24, 60, 44), {"refine": 0.0, "blend": "feather"}),
)
EDIT_OPTIONS = ("dilate", "feather", "margin", "blend", "refine")
RESOLUTION, LATENT_SIZE = 64, 8
REFINES = tuple((table, strength) for table in (DDIM(), DPM()) for strength in (0.5, 0.3))
# Size of the latents, boxes of the hole (left, top, right, bottom).
STARTS: tuple[tuple[int, tuple[morphology.Box, ...]], ...] = (
    (8, ((2, 3, 4, 5),)),
    (16, ((0, 2, 5, 7), (10, 9, 16, 16))),
    (8, ((1, 1, 7, 7),)),  # grown, it is everything
)
# Side of a picture and the boxes of its hole (left, top, right, bottom).
CORRECTIONS: tuple[tuple[int, tuple[morphology.Box, ...]], ...] = (
    (24, ((7, 9, 12, 18),)),
    (40, ((0, 20, 9, 40), (15, 3, 31, 22), (20, 20, 40, 26))),  # at the edges, and not in whole blocks of 16
)


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
