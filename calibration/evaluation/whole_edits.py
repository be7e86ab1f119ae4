"""Measure what a precision costs in whole edits.

The self-test has only one picture, and INT8's dB on one picture is a matter of luck.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from moebius_edge.calibration.evaluation.evaluate import Case, edit
from moebius_edge.checking.verify import region_db
from moebius_edge.common.progress import Tick
from moebius_edge.inpainter import Inpainter


@dataclass(frozen=True)
class EditsCost:
    """PSNR against FP32's pictures inside the hole, peak 255, in dB; an equal hole counts as 200."""

    mean_db: float
    worst_db: float


class WholeEdits:
    """Photos with holes, and what the FP32 model fills them with.

    Making one runs every edit in FP32. `tick(done, total)` counts edits. A model that overflows on a photo
    raises NotFinite.
    """

    def __init__(self, fp32: Inpainter, cases: Sequence[Case], tick: Tick) -> None:
        self._cases = cases
        self._pictures = list(self._edited(fp32, tick))

    def cost(self, inpainter: Inpainter, tick: Tick) -> EditsCost:
        """Run the edits with another model of the same resolution and return how close they come."""
        pictures = self._edited(inpainter, tick)
        found = [
            region_db(picture, expected, hole)
            for (_, hole), picture, expected in zip(self._cases, pictures, self._pictures, strict=True)
        ]
        return EditsCost(float(np.mean(found)), min(found))

    def _edited(self, inpainter: Inpainter, tick: Tick) -> Iterator[NDArray[np.uint8]]:
        for number, case in enumerate(self._cases):
            tick(number, len(self._cases))
            yield edit(inpainter, case)
