"""Run edits: the first pass of all of them, then the second, closer pass of those whose fill is coarse.

docs/loop.md, step 13. What a pass does is the loop's (`moebius_edge.inpaint.loop`). What it is given, and
where its picture goes, is the edit's.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from moebius_edge.inpaint import loop
from moebius_edge.inpaint.loop import Control, Counter, Draws, OnProgress, OnStep
from moebius_edge.inpaint.portable import PortableEdit
from moebius_edge.inpaint.published import PublishedEdit
from moebius_edge.inpaint.runtime import Runtime
from moebius_edge.inpaint.solving.table import Schedule

Edit = PortableEdit | PublishedEdit


@dataclass(frozen=True)
class Settings:
    """How the passes of a batch are run."""

    first: Schedule
    second: Schedule | None  # of the second pass; None: there is none
    guidance: float
    low_memory: bool  # release each graph when a pass no longer needs it


def run_passes(
    runtime: Runtime,
    edits: Sequence[Edit],
    draws: Draws,
    settings: Settings,
    progress: OnProgress | None = None,
    on_step: OnStep | None = None,
) -> list[tuple[Edit, NDArray[np.float32]]]:
    """Return the last pass of each edit of a batch, and the model's picture [R,R,3] in [0,1] of it.

    There is one of `draws` for each. `progress(done, total)` counts the graph runs of both passes; returning
    False stops with Cancelled. `on_step(index, latents)` sees the latents after each step. Raises NotFinite
    when numbers are no longer finite.
    """
    first, second = settings.first, settings.second
    coarse = {
        index: edit
        for index, edit in enumerate(edits)
        if second is not None and isinstance(edit, PortableEdit) and edit.closer is not None
    }
    jobs = [edit.job() for edit in edits]
    runs = sum(loop.graph_runs(first, job.whole_start) for job in jobs)
    if second is not None:
        runs += len(coarse) * loop.graph_runs(second, whole_start=True)
    control = Control(settings.low_memory, Counter(progress, runs).tick, on_step)
    pictures = loop.run(runtime, jobs, draws, first, settings.guidance, control)
    last = list(edits)
    if second is not None and coarse:
        finer = {index: edit.refined(pictures[index]) for index, edit in coarse.items()}
        jobs = [edit.job() for edit in finer.values()]
        again = loop.run(runtime, jobs, draws.chosen(list(finer)), second, settings.guidance, control)
        for (index, edit), picture in zip(finer.items(), again, strict=True):
            last[index], pictures[index] = edit, picture
    return list(zip(last, pictures, strict=True))
