"""Latents continued into holes by the training, beside the loop's own."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moebius_edge.inpaint.loop import continued as wanted
from moebius_edge.training.continuing import continued


@given(seed=st.integers(0, 2**32 - 1), holes=st.integers(1, 3))
@settings(max_examples=30, deadline=None)
def test_a_batch_is_continued_as_the_loop_continues_one(seed: int, holes: int) -> None:
    draws = np.random.default_rng(seed)
    # Latents of photos are smooth: noise of 8 x 8, enlarged.
    small = torch.from_numpy(draws.standard_normal((2, 4, 8, 8)).astype(np.float32))
    latents = torch.nn.functional.interpolate(small, scale_factor=4, mode="bilinear")
    mask = torch.zeros(2, 1, 32, 32)
    for _ in range(holes):
        left, top = draws.integers(0, 24, 2)
        width, height = draws.integers(1, 20, 2)
        mask[..., top : top + height, left : left + width] = 1
    result = continued(latents, mask)
    for i in range(2):
        exact = wanted(latents[i : i + 1].numpy(), mask[i : i + 1].numpy())
        assert np.abs(result[i : i + 1].numpy() - exact).max() < 0.02 * np.ptp(exact)


def test_where_nothing_is_known_latents_stay() -> None:
    latents = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(2, 1, 16, 16)
    mask[1] = 1
    result = continued(latents, mask)
    assert torch.equal(result, latents)
