"""Draw holes as people make them, on the device that trains: outlines of things, strokes, boxes."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from moebius_edge.inpaint.masks import draw_mask
from moebius_edge.training.cases import read_silhouettes

CANVAS = 128  # pixels: the side at which shapes are kept
FILLED = 96  # pixels of it that a shape's longer side takes
DRAWN = 512  # shapes made by `draw_mask`, beside the outlines
OUTLINES = 0.6  # share of the holes that are outlines, if there are any
SEVERAL = (1.0, 0.25, 0.1)  # probability of a first, a second and a third shape in one hole
AREA = (0.01, 0.32)  # fraction of the picture that a shape is to cover, uniform in its logarithm
SLACK = 0.03  # of the picture's side: a mask is drawn up to so much wider than the thing


def distances(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the signed distances to a shape's edge, float32 [CANVAS, CANVAS], above 0 inside.

    The unit is the side of the canvas. The shape is centred, its bounding box scaled to `FILLED` pixels.
    """
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    part = Image.fromarray(mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    scale = FILLED / max(part.size)
    width, height = (max(round(side * scale), 2) for side in part.size)
    canvas = np.zeros((CANVAS, CANVAS), dtype=bool)
    top, left = (CANVAS - height) // 2, (CANVAS - width) // 2
    resized = part.convert("L").resize((width, height), Image.Resampling.BILINEAR)
    canvas[top : top + height, left : left + width] = np.asarray(resized) > 127
    inside, outside = distance_transform_edt(canvas), distance_transform_edt(~canvas)
    result: NDArray[np.float32] = ((inside - outside) / CANVAS).astype(np.float32)
    return result


class Holes:
    """A seeded source of holes: shapes at random sizes, turns and places.

    The shapes are kept as distance fields on one device. `outlines`: a folder of silhouettes; None: only the
    `drawn` shapes of `draw_mask`.
    """

    def __init__(self, outlines: Path | None, seed: int, device: str = "cpu", drawn: int = DRAWN) -> None:
        rng = np.random.default_rng(seed)
        masks = [draw_mask(rng, CANVAS, (0.08, 0.4)) for _ in range(drawn)]
        masks += read_silhouettes(outlines) if outlines is not None else []
        self.outlines = len(masks) - drawn
        with ThreadPoolExecutor() as pool:
            fields = np.stack(list(pool.map(distances, masks)))
        self.fields = torch.from_numpy(fields)[:, None].to(device)
        self.areas = (self.fields > 0).float().mean((1, 2, 3)).clamp(min=0.01)
        self.generator = torch.Generator(device).manual_seed(seed)
        self.device = device
        self.several = torch.tensor(SEVERAL, device=device)[:, None]

    def batch(self, count: int, size: int) -> Tensor:
        """Draw holes as float32 [count, 1, size, size]: 1 in the hole, 0 elsewhere."""
        present = self._uniform(len(SEVERAL), count) < self.several
        shapes = [self._shape(count, size) for _ in SEVERAL]
        return (torch.stack(shapes) * present[:, :, None, None, None]).amax(0)

    def _shape(self, count: int, size: int) -> Tensor:
        """Draw one shape per picture: the distance field, turned, mirrored and scaled to an area."""
        draws = self._uniform(8, count)
        share = OUTLINES if self.outlines else 0.0
        drawn = len(self.areas) - self.outlines
        which = torch.where(
            draws[0] < share, drawn + (draws[1] * self.outlines).long(), (draws[1] * drawn).long()
        )
        low, high = np.log(AREA)
        scale = ((low + (high - low) * draws[2]).exp() / self.areas[which]).sqrt()
        turn = (draws[3] - 0.5) * torch.where(draws[0] < share, 1.0, 2 * torch.pi)
        mirror = torch.where(draws[4] < 0.5, 1.0, -1.0)
        cos, sin = turn.cos() / scale, turn.sin() / scale
        matrix = torch.stack([torch.stack([mirror * cos, -sin], 1), torch.stack([mirror * sin, cos], 1)], 1)
        # Picture coordinates are -1 to 1; centres gather in the middle, where a context crop has its hole.
        centre = (draws[5:7] + self._uniform(2, count) - 1).T * 0.9
        shift = -(matrix @ centre[:, :, None])
        grid = F.affine_grid(torch.cat([matrix, shift], 2), [count, 1, size, size], align_corners=False)
        field = F.grid_sample(self.fields[which], grid, padding_mode="border", align_corners=False)
        # A distance in sides of the canvas, times the scale, is one in sides of the picture.
        # Beyond the canvas the edge's distance is repeated: slack must not reach it.
        slack = torch.minimum(SLACK * draws[7], 0.9 * (CANVAS - FILLED) / (2 * CANVAS) * scale)
        inside = field * scale[:, None, None, None] + slack[:, None, None, None] > 0
        return inside.float()

    def _uniform(self, *shape: int) -> Tensor:
        return torch.rand(shape, generator=self.generator, device=self.device)
