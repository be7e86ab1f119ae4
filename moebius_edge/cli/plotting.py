"""Draw pictures with matplotlib (extra `plot`): of a profile and of a ledger.

A profile has a dot for every run and a line for their median.
"""

import io
from collections import Counter
from importlib.util import find_spec
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moebius_edge.checking.profile import Profile
from moebius_edge.common.errors import InvalidInput, RuntimeUnavailable
from moebius_edge.common.explain import install
from moebius_edge.common.files import write_atomically

if TYPE_CHECKING:
    from moebius_edge.calibration.int8.sensitivity import Ledger

COLOURS = ("#1f6f8b", "#d1603d")  # A, B: tell apart in grey and with the common colour blindnesses


def check_plot(path: Path) -> None:
    """Raise, before anything is measured, when `path` cannot be drawn.

    RuntimeUnavailable: matplotlib is missing. InvalidInput: `path` is no PNG, or its folder does not exist.
    """
    if find_spec("matplotlib") is None:
        raise RuntimeUnavailable(f"--plot needs matplotlib, not installed here; {install('plot')}")
    if path.suffix.lower() != ".png":
        raise InvalidInput(f"the plot {path} is no PNG; name it {path.stem or 'profile'}.png")
    if path.is_dir() or not path.parent.is_dir():
        raise InvalidInput(
            f"the plot {path} cannot be written: its folder must exist, and it must not be one"
        )


def draw(profile: Profile, path: Path) -> None:
    """Draw one panel for each graph, and one for the whole edit if it was measured."""
    from matplotlib.figure import Figure  # noqa: PLC0415

    panels: dict[str, Any] = dict(profile.graphs)
    if profile.edit is not None:
        panels[f"whole edit, {profile.edit.denoiser_runs} steps run"] = profile.edit
    figure = Figure(figsize=(2.6 * len(panels) + 0.6, 3.6), layout="constrained")
    names = [profile.bundle.name] + ([profile.against.name] if profile.against is not None else [])
    for axis, (title, timing) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
    ):
        series = [timing] + ([timing.against] if timing.against is not None else [])
        _panel(axis, [side.times_ms for side in series], [side.p50_ms for side in series])
        ratio = "" if timing.ratio is None else f"\nB / A = {timing.ratio:.2f}"
        axis.set_title(title + ratio, fontsize=10)
    legend = "     ".join(f"{letter}: {name}" for letter, name in zip("AB", names, strict=False))
    machine = profile.machine
    where = f"{machine['processor']}, threads: {profile.threads}"
    figure.suptitle(f"{legend}\n{where}; milliseconds, every run, line = median", fontsize=9)
    _save(figure, path)


def draw_ledger(ledger: "Ledger", path: Path, named: int = 8) -> None:
    """Draw each layer's noise by its share of all multiply-accumulates; the `named` worst by name."""
    from matplotlib.figure import Figure  # noqa: PLC0415

    from moebius_edge.calibration.int8.sensitivity import decibels  # noqa: PLC0415

    entries = ledger.entries
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    axis, names, added = figure.subplots(1, 3, width_ratios=(6, 3, 4))
    everything = sum(entry.macs for entry in entries)
    for depthwise, colour, label in ((False, COLOURS[0], "dense"), (True, COLOURS[1], "depthwise")):
        chosen = [entry for entry in entries if entry.depthwise == depthwise]
        shares = [100 * entry.macs / everything for entry in chosen]
        axis.scatter(shares, [entry.db for entry in chosen], s=14, color=colour, alpha=0.7, label=label)
    sides: Counter[int] = Counter()  # points of the same share lie above each other: numbers to both sides
    for number, entry in enumerate(entries[:named], 1):
        place = (100 * entry.macs / everything, entry.db)
        right, align = ((4, "left"), (-4, "right"))[sides[entry.macs] % 2]
        sides[entry.macs] += 1
        axis.annotate(str(number), place, (right, 1), textcoords="offset points", fontsize=7, ha=align)
    worst = (f"{number}  {entry.layer}: {entry.db:.1f}" for number, entry in enumerate(entries[:named], 1))
    names.axis("off")
    names.text(0, 1, "the worst, dB\n\n" + "\n".join(worst), fontsize=7, va="top", linespacing=1.5)
    axis.set(
        xscale="log", xlabel="multiply-accumulates, % of all layers", ylabel="dB, this layer alone in INT8"
    )
    axis.invert_yaxis()
    axis.legend(frameon=False, fontsize=8, loc="upper left")
    rest = list(accumulate(entry.noise for entry in reversed(entries)))
    added.plot([decibels(noise) for noise in reversed(rest)], color=COLOURS[0])
    added.set(
        xscale="symlog", xlabel="worst layers kept in floats", ylabel="dB, all others in INT8 (noises added)"
    )
    for side in (axis, added):
        side.spines[["top", "right"]].set_visible(False)
    figure.suptitle(
        f"{len(entries)} layers, {ledger.samples} denoiser inputs, observer {ledger.observer}", fontsize=9
    )
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150, metadata={"Software": None})
    write_atomically(path, buffer.getvalue())


def _panel(axis: Any, times: list[tuple[float, ...]], medians: list[float]) -> None:
    for place, (values, median) in enumerate(zip(times, medians, strict=True)):
        count = len(values)
        spread = [place + 0.3 * (i / max(count - 1, 1) - 0.5) for i in range(count)]
        axis.scatter(spread, values, s=14, color=COLOURS[place], alpha=0.6, linewidths=0)
        axis.hlines(median, place - 0.3, place + 0.3, color=COLOURS[place], linewidth=2)
        axis.annotate(
            f"{median:,.1f}", (place, median), (0, 5), textcoords="offset points", ha="center", fontsize=8
        )
    axis.set_xticks(range(len(times)), list("AB")[: len(times)])
    axis.set_xlim(-0.6, len(times) - 0.4)
    axis.set_ylim(0, 1.15 * max(max(values) for values in times))
    axis.spines[["top", "right"]].set_visible(False)
