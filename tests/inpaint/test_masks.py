import numpy as np
import pytest

from moebius_edge.inpaint.masks import KINDS, draw_mask


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_keeps_to_the_area(kind: str) -> None:
    for seed in range(20):
        mask = draw_mask(np.random.default_rng(seed), 128, (0.05, 0.4), kind)
        assert mask.shape == (128, 128)
        assert mask.dtype == bool
        assert 0.05 <= mask.mean() <= 0.4


def test_a_seed_gives_the_same_masks_and_another_seed_others() -> None:
    first, again, other = (
        [draw_mask(rng, 64) for _ in range(8)] for rng in map(np.random.default_rng, (1, 1, 2))
    )
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_kinds_differ_in_shape() -> None:
    """A box fills its bounding box; strokes do not."""

    def filling(kind: str) -> float:
        mask = draw_mask(np.random.default_rng(3), 128, (0.1, 0.3), kind)
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        return float(mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].mean())

    assert filling("box") == 1.0
    assert 0.7 < filling("ellipse") < 0.85
    assert filling("strokes") < 0.7
