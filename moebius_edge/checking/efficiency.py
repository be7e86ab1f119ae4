"""Give the columns of the paper's efficiency table for a bundle, with the published rows for scale."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class EfficiencyRow:
    """One row of the table. None: not published, or not measured."""

    model: str
    parameters_m: float | None  # millions, of the denoising network
    tmacs: float | None  # 10^12 multiply-accumulates of one call of the denoising network
    ms_per_step: float | None
    steps: int | None
    total_s: float | None  # all steps, without encoding and decoding
    measured: str  # "here" or "elsewhere"


NOTE = (
    "Rows measured here: on this machine; TMACs of a guided step, which evaluates two samples. Rows measured "
    "elsewhere are other models on another machine, as published (arXiv 2606.19195): one GPU of a kind that "
    "is not stated; TMACs of one sample. Their times and those of this machine do not compare."
)
SMALL = 0.5  # of the published model's parameters; below, a bundle is of another, smaller model
HERE, ELSEWHERE = "here", "elsewhere"

# The paper's efficiency table; its 154.0 GFLOPs are multiply-accumulates.
PUBLISHED: tuple[EfficiencyRow, ...] = (
    EfficiencyRow("Moebius", 226.0, 0.154, 26.01, 20, 0.52, ELSEWHERE),
    EfficiencyRow("PixelHacker", None, None, None, None, 0.94, ELSEWHERE),
    EfficiencyRow("SD3.5-Large-Inp", None, None, None, None, 4.23, ELSEWHERE),
    EfficiencyRow("FLUX.1-Fill-Dev", None, None, None, None, 8.05, ELSEWHERE),
)


def note(rows: Sequence[EfficiencyRow]) -> str:
    """Return the sentences below the table: what its columns mean, and which of `rows` are no Moebius.

    `rows`: those measured here. One with far fewer parameters than the published model is named, because it
    is a smaller model and not a faster one.
    """
    published = PUBLISHED[0].parameters_m
    assert published is not None
    small = [row for row in rows if row.parameters_m is not None and row.parameters_m < SMALL * published]
    named = (
        f"{row.model} has {row.parameters_m:,.2f} M parameters, the published Moebius {published:,.0f} M: "
        "it is a smaller model, not a faster one."
        for row in small
    )
    return " ".join((NOTE, *named))


def row(
    model: str, parameters: int, macs: int | None, ms_per_step: float | None, steps: int
) -> EfficiencyRow:
    """Return the row of a bundle measured here.

    `parameters`: of its denoising network. `macs` and `ms_per_step`: one guided call of its denoiser graph.
    `steps`: calls per edit.
    """
    return EfficiencyRow(
        model=model,
        parameters_m=round(parameters / 1e6, 2),
        tmacs=None if macs is None else round(macs / 1e12, 4),
        ms_per_step=None if ms_per_step is None else round(ms_per_step, 2),
        steps=steps,
        total_s=None if ms_per_step is None else round(ms_per_step * steps / 1000, 3),
        measured=HERE,
    )
