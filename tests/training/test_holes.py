from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from moebius_edge.training import holes as holes_module
from moebius_edge.training.holes import AREA, CANVAS, FILLED, Holes, distances


@pytest.fixture
def outlines(tmp_path: Path) -> Path:
    """Two silhouettes, white on black."""
    for name, box in (("tall", (90, 20, 110, 220)), ("wide", (10, 100, 240, 140))):
        picture = Image.new("1", (256, 256))
        ImageDraw.Draw(picture).rectangle(box, fill=1)
        picture.save(tmp_path / f"{name}.png")
    return tmp_path


def test_distances_are_those_to_the_edge_of_the_scaled_shape() -> None:
    mask = np.zeros((40, 40), dtype=bool)
    mask[5:25, 10:30] = True
    field = distances(mask)
    middle, edge = CANVAS // 2, (CANVAS - FILLED) // 2
    assert field.shape == (CANVAS, CANVAS)
    assert ((field > 0).sum(0) > 0).sum() == FILLED
    assert field[middle, middle] == pytest.approx(FILLED / 2 / CANVAS, abs=1 / CANVAS)
    assert field[middle, edge] == pytest.approx(1 / CANVAS)
    assert field[middle, 0] == pytest.approx(-edge / CANVAS)


def test_holes_are_ones_and_zeros_of_many_sizes_never_the_whole_picture(outlines: Path) -> None:
    holes = Holes(outlines, seed=3, drawn=16).batch(600, 64)
    assert holes.shape == (600, 1, 64, 64)
    assert set(holes.unique().tolist()) == {0.0, 1.0}
    areas = holes.mean((1, 2, 3))
    assert areas.min() > 0.5 * AREA[0] and areas.max() < 0.75
    assert areas.quantile(0.1) < 0.04 and areas.quantile(0.9) > 0.2


def test_a_seed_fixes_the_holes(outlines: Path) -> None:
    first, again, other = (Holes(outlines, seed, drawn=4).batch(5, 32) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_outlines_are_most_of_the_shapes(outlines: Path) -> None:
    holes = Holes(outlines, seed=0, drawn=4)
    assert holes.outlines == 2 and len(holes.fields) == 6
    # Only outlines left: every hole is as long and thin as they are.
    holes.fields[:4] = -1.0
    filled = holes.batch(300, 64).amax((1, 2, 3)).mean()
    assert 0.55 < filled < 0.8


def test_slack_does_not_reach_the_pictures_edges(outlines: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much slack it has, a small shape stays small."""
    monkeypatch.setattr(holes_module, "AREA", (0.004, 0.006))
    shapes = Holes(outlines, seed=5, drawn=64)._shape(1000, 64)
    height = (shapes.amax(3) > 0).sum(2)
    width = (shapes.amax(2) > 0).sum(2)
    # The longest outline is ten times as long as it is wide: of 25 pixels, 16 long, and 4 of slack.
    assert torch.maximum(height, width).max() < 26
