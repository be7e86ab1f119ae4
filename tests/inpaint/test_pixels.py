"""Pixels out of Pillow images, strip by strip: what Pillow converts at once."""

import numpy as np
import pytest
from PIL import Image

from moebius_edge.inpaint import pixels
from moebius_edge.inpaint.pixels import brighter, rgb_of


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_strips_are_converted_as_the_whole(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixels, "STRIP", 100)  # 7 rows of 13 pixels, and a last strip of 2
    noise = np.random.default_rng(0).integers(0, 256, (23, 13, 4), dtype=np.uint8)
    image = Image.fromarray(noise).convert("RGB" if mode == "P" else "RGBA").convert(mode)
    whole = image.convert("RGB")
    assert np.array_equal(rgb_of(image), np.asarray(whole))
    assert np.array_equal(brighter(image, 127.5), np.asarray(whole.convert("L")) > 127.5)
