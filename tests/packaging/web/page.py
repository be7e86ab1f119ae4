"""The page as a user drives it, and Python's result to compare with."""

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from moebius_edge.inpaint import morphology

PATIENCE = 180_000  # milliseconds: machines are shared
SEED, STEPS, MANY = 3, 4, 1000
FILLING = re.compile(r"Filling: [1-9]")


class Page:
    """One tab. Errors of the page's own code are collected in `errors`."""

    def __init__(self, tab: Any, url: str) -> None:
        self.tab, self.url = tab, url
        self.errors: list[str] = []
        tab.set_default_timeout(PATIENCE)
        tab.on("pageerror", lambda error: self.errors.append(str(error)))

    def open(self, query: str = "") -> "Page":
        """Load it."""
        self.tab.goto(self.url + query)
        return self

    def ready(self) -> "Page":
        """Wait until the model is there and tested."""
        self.says("#badge", "Self-test passed")
        self.says("#status", "Ready.")
        return self

    def says(self, selector: str, text: str | re.Pattern[str]) -> None:
        """Wait until an element has this text."""
        self.tab.locator(selector, has_text=text).first.wait_for()

    def text(self, selector: str) -> str:
        """What stands there now."""
        return str(self.tab.inner_text(selector))

    def photo(self, path: Path) -> None:
        """Open a photo and wait until it is shown."""
        first = self.tab.locator("#drop").is_visible()
        self.tab.set_input_files("#photo-file" if first else "#another-file", path)
        with Image.open(path) as image:
            width, height = image.size
        self.says("#size-hint", f"{width} x {height} pixels")
        self.says("#status", "Paint over what is to go")

    def mask(self, path: Path) -> None:
        """Open a mask image."""
        self.tab.set_input_files("#mask-file", path)
        self.says("#status", "The mask is open")

    def choose(self, steps: int = STEPS, seed: int = SEED) -> None:
        """Steps and seed; also more steps than the page offers, for time to do something meanwhile."""
        self.tab.evaluate("document.querySelector('.settings').open = true")
        self.tab.evaluate("steps => document.getElementById('steps').max = Math.max(50, steps)", steps)
        self.tab.fill("#steps", str(steps))
        self.tab.fill("#seed", str(seed))

    def run(self) -> None:
        """Fill, and wait for the result."""
        self.tab.click("#run")
        self.says("#status", "Done.")

    def download(self, selector: str, path: Path) -> Image.Image:
        """Save what a button gives."""
        with self.tab.expect_download() as found:
            self.tab.click(selector)
        found.value.save_as(path)
        image = Image.open(path)
        image.load()
        return image


def differences(
    found: Image.Image, expected: Image.Image, mask: NDArray[np.bool_], feather: int = 8
) -> tuple[int, int]:
    """Largest difference in grey levels: within `feather` pixels of the mask, and beyond."""
    assert (found.mode, found.size) == (expected.mode, expected.size)
    error = np.abs(np.asarray(found).astype(np.int16) - np.asarray(expected).astype(np.int16))
    near = morphology.grow(mask, feather)
    return int(error[near].max()), int(error[~near].max())
