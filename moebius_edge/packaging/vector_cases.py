"""What the test vectors are computed of: seeds, sizes, boxes, options."""

from typing import Any

from moebius_edge.inpaint.morphology import Box
from moebius_edge.inpaint.solvers.ddim import DDIM
from moebius_edge.inpaint.solvers.dpm import DPM

SEEDS = (0, 1, 7, 0xFFFFFFFF, 0x0123456789ABCDEF, 2**64 - 1)
BLOCKS = (0, 1, 1023, 262143)
SCHEDULES = ((20, 0.99), (20, 1.0), (5, 0.99), (1, 1.0), (7, 0.5), (50, 0.8), (1000, 0.01))
FIRST_ROWS = [DDIM().coefficients(*length)[:1] for length in SCHEDULES[:3]]
UPDATES = (*FIRST_ROWS, DPM().coefficients(8, 0.99), DDIM().coefficients(*SCHEDULES[2]))
# Box (left, top, right, bottom), photo (width, height), resolution, margin, feather.
CROPS: tuple[tuple[Box, tuple[int, int], int, float, int], ...] = (
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
# Photo (width, height), boxes of the mask, a box of full transparency or None, options.
EDITS: tuple[tuple[tuple[int, int], tuple[Box, ...], Box | None, dict[str, Any]], ...] = (
    ((100, 80), ((40, 24, 60, 44),), None, {}),
    ((100, 80), ((40, 24, 60, 44),), None, {"margin": 0.25}),  # at the photo's own resolution
    ((100, 80), ((3, 2, 31, 54),), None, {"feather": 3, "dilate": 2}),
    ((100, 80), ((95, 78, 100, 80),), None, {}),  # in the last rows and columns of the square (step 5)
    ((45, 39), ((0, 0, 9, 8),), None, {"feather": 0, "margin": 0.0}),  # a small photo: step 4 fills the mask
    ((140, 40), ((5, 16, 126, 23),), None, {"feather": 5}),
    ((66, 70), ((10, 14, 30, 29),), None, {"blend": "feather", "feather": 4}),
    ((140, 120), ((90, 60, 130, 95),), None, {"dilate": 1}),  # the second pass is scaled down, too
    ((100, 80), ((40, 24, 60, 44),), None, {"refine": 0.0, "blend": "feather"}),
    ((100, 80), ((40, 24, 60, 44),), (50, 0, 100, 80), {}),  # the mask reaches into what is transparent
    ((140, 120), ((50, 40, 80, 70),), (0, 0, 60, 120), {"margin": 0.5}),
    ((45, 39), ((20, 18, 26, 30),), (0, 0, 12, 39), {"feather": 3}),
    ((200, 70), ((5, 20, 12, 30), (180, 40, 188, 60)), None, {"margin": 0.25}),  # two holes
    ((200, 70), ((5, 20, 12, 30), (180, 40, 188, 60)), None, {"margin": 0.25, "together": True}),
)
EDIT_OPTIONS = ("dilate", "feather", "margin", "together", "blend", "refine")
# Photo (width, height), resolution, margin, feather, boxes of the mask.
HOLES: tuple[tuple[tuple[int, int], int, float, int, tuple[Box, ...]], ...] = (
    ((400, 300), 64, 1.0, 8, ((10, 10, 20, 20),)),
    ((400, 300), 64, 0.25, 8, ((10, 10, 20, 20), (370, 280, 390, 290))),  # far apart
    ((400, 300), 64, 1.0, 8, ((370, 280, 390, 290), (10, 10, 20, 20), (24, 40, 30, 44))),  # two of three
    ((400, 300), 64, 0.25, 4, ((10, 10, 20, 20), (90, 10, 100, 20), (170, 10, 180, 20))),  # side by side
    ((400, 300), 64, 0.25, 4, ((0, 0, 90, 20), (150, 0, 170, 20), (240, 30, 250, 40))),  # joined in turn
    ((400, 60), 64, 1.0, 8, ((0, 0, 5, 5), (395, 55, 400, 60))),  # a strip
    ((200, 200), 32, 0.0, 0, ((0, 0, 8, 8), (8, 8, 16, 16), (40, 40, 41, 41), (199, 0, 200, 1))),
)
RESOLUTION, LATENT_SIZE = 64, 8
REFINES = tuple((table, strength) for table in (DDIM(), DPM()) for strength in (0.5, 0.3))
# Size of the latents, boxes of the hole (left, top, right, bottom).
STARTS: tuple[tuple[int, tuple[Box, ...]], ...] = (
    (8, ((2, 3, 4, 5),)),
    (16, ((0, 2, 5, 7), (10, 9, 16, 16))),
    (8, ((1, 1, 7, 7),)),  # grown, it is everything
)
# Side of a picture and the boxes of its hole (left, top, right, bottom).
CORRECTIONS: tuple[tuple[int, tuple[Box, ...]], ...] = (
    (24, ((7, 9, 12, 18),)),
    (40, ((0, 20, 9, 40), (15, 3, 31, 22), (20, 20, 40, 26))),  # at the edges, and not in whole blocks of 16
)
