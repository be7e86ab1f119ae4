"""What a precision costs in whole edits: on the self-test's one picture, INT8 is a matter of luck."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from moebius_edge.bundle import Bundle
from moebius_edge.calibration.evaluate import Case, edit
from moebius_edge.inpainter import Inpainter
from moebius_edge.parity import compare
from moebius_edge.progress import Tick
from moebius_edge.runtimes import Runtime, open_runtime


@dataclass(frozen=True)
class EditsCost:
    """PSNR against FP32's pictures inside the hole, peak 255, in dB."""

    mean_db: float
    worst_db: float


class WholeEdits:
    """Photos with holes, and what a bundle of FP32 graphs fills them with."""

    def __init__(self, fp32: Bundle, pairs: Sequence[Case], tick: Tick) -> None:
        """Edits `pairs`; `tick(done, total)` counts them."""
        self._cases = pairs
        self._pictures = list(self._edited(fp32, open_runtime(fp32), tick))

    def cost(self, bundle: Bundle, runtime: Runtime, tick: Tick) -> EditsCost:
        """Of `runtime`, which runs graphs of the same model; `tick(done, total)` counts edits."""
        pictures = self._edited(bundle, runtime, tick)
        found = [
            compare(picture[hole], expected[hole], peak=255).db
            for (_, hole), picture, expected in zip(self._cases, pictures, self._pictures, strict=True)
        ]
        return EditsCost(float(np.mean(found)), min(found))

    def _edited(self, bundle: Bundle, runtime: Runtime, tick: Tick) -> Iterator[NDArray[np.uint8]]:
        inpainter = Inpainter.of(bundle.manifest, runtime, low_memory=False)
        for number, case in enumerate(self._cases):
            tick(number, len(self._cases))
            yield edit(inpainter, case)
