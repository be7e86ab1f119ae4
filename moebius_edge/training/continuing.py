"""Continue latents into holes, in batches and on the device that trains: what an edit starts from."""

import torch
import torch.nn.functional as F
from torch import Tensor

from moebius_edge.inpaint.loop import GREYED

SWEEPS = 16  # at each size: within 2 % of the range of values (tests/training/test_continuing.py)
STEP = 1.8  # of a sweep, in changes that satisfy a latent's equation (successive over-relaxation)


def continued(latents: Tensor, mask: Tensor) -> Tensor:
    """Continue what is around the holes into them, as `moebius_edge.inpaint.loop.continued` does for one.

    `latents` [B,C,h,w], of masked pictures; `mask` [B,1,h,w], 1 = hole; h and w are powers of two. It is
    made of operations of one shape whatever the holes are, so that a step that has it can be captured.
    """
    hole = F.max_pool2d(mask, 2 * GREYED + 1, stride=1, padding=GREYED)
    nothing_known = hole.amin((2, 3), keepdim=True) > 0
    return torch.where(nothing_known, latents, _solve(latents, hole))


def _solve(values: Tensor, free: Tensor) -> Tensor:
    """`values`, harmonic where `free` is 1: starts from the solution at half the size."""
    fixed = 1 - free
    known = values * fixed
    if min(values.shape[-2:]) == 1:
        return known
    count = F.avg_pool2d(fixed, 2)
    coarse = _solve(F.avg_pool2d(known, 2) / count.clamp(min=0.25), (count == 0).to(free.dtype))
    x = known + F.interpolate(coarse, scale_factor=2, mode="bilinear") * free
    rows, columns = (torch.arange(side, device=x.device) for side in x.shape[-2:])
    black = ((rows[:, None] + columns) % 2).to(free.dtype)
    weights = (STEP * free * black, STEP * free * (1 - black))  # neighbours are never changed together
    for _ in range(SWEEPS):
        for weight in weights:
            p = F.pad(x, (1, 1, 1, 1), mode="replicate")
            mean = (p[..., :-2, 1:-1] + p[..., 2:, 1:-1] + p[..., 1:-1, :-2] + p[..., 1:-1, 2:]) / 4
            x = torch.lerp(x, mean, weight)
    return x
