"""Print what `profile` found, for people."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from moebius_edge.cli import show
from moebius_edge.common.timing import busy_sentence

if TYPE_CHECKING:
    from moebius_edge.checking.profile import EditTiming, Profile, Timing
    from moebius_edge.devices.sizes import SizeRow
    from moebius_edge.devices.summary import DeviceSummary


def print_profile(profile: "Profile") -> None:
    """Print what was measured here."""
    from rich.table import Table  # noqa: PLC0415

    console, machine = show.out(), profile.machine
    console.print(
        f"{machine['processor']}, threads: {profile.threads} of {machine['cores']} cores, "
        f"{machine['system']}; {profile.runs} runs each",
        markup=False,
    )
    for letter, subject in (("A", profile.bundle), ("B", profile.against)):
        if subject is not None:
            peak = "unknown" if subject.peak_mb is None else f"{subject.peak_mb:,.0f} MB"
            console.print(
                f"{letter}: {subject.name}: {subject.model}, {subject.precision}, {subject.graph} graphs, "
                f"{subject.runtime}, {subject.megabytes:,.1f} MB; peak memory of {profile.memory}: {peak}",
                markup=False,
            )
    columns = ["milliseconds", "GMAC", "load", "p50", "p95"]
    columns += ["B load", "B p50", "B p95", "B / A"] if profile.against else []
    table = Table(*columns, box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for name, timing in profile.graphs.items():
        gmacs = "-" if timing.gmacs is None else f"{timing.gmacs:,.2f}"
        table.add_row(name, gmacs, *_times(timing))
    if profile.edit is not None:
        table.add_row("whole edit", "", *_times(profile.edit))
    console.print("", table, "")
    if profile.busy:
        console.print(busy_sentence(profile.busy) + "\n", markup=False, style="yellow")
    if profile.edit is not None:
        console.print(
            f"A whole edit loads each graph, encodes once, runs {profile.edit.denoiser_runs} of "
            f"{profile.edit.steps} steps, decodes and pastes.\n",
            markup=False,
        )
    _print_efficiency(profile)


def _times(timing: "Timing | EditTiming") -> list[str]:
    """Return the cells of one row, from the load time on."""
    cells: list[float | None] = [getattr(timing, "load_ms", None), timing.p50_ms, timing.p95_ms]
    ratio = []
    if timing.against is not None:
        cells += [timing.against.load_ms, timing.against.p50_ms, timing.against.p95_ms]
        ratio = ["-" if timing.ratio is None else f"{timing.ratio:.2f}"]
    return ["" if value is None else f"{value:,.1f}" for value in cells] + ratio


def _print_efficiency(profile: "Profile") -> None:
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(
        "model", "parameters", "TMACs", "ms/step", "steps", "total", "measured", box=None, pad_edge=False
    )
    for row in profile.efficiency:
        cells = (
            None if row.parameters_m is None else f"{row.parameters_m:,.2f} M",
            None if row.tmacs is None else f"{row.tmacs:.4g}",
            None if row.ms_per_step is None else f"{row.ms_per_step:,.2f}",
            None if row.steps is None else str(row.steps),
            None if row.total_s is None else f"{row.total_s:,.2f} s",
        )
        # As text: a bundle's model name is not to be read as rich's markup.
        table.add_row(Text(row.model), *("-" if cell is None else cell for cell in cells), row.measured)
    console = show.out()
    console.print("The columns of the paper's efficiency table:", table)
    console.print(profile.efficiency_note, markup=False)


def print_device(device: "DeviceSummary") -> None:
    """Print what was measured on one device."""
    from rich.table import Table  # noqa: PLC0415

    console, about, engine = show.out(), device.device, device.engine
    chip = f", {about['chip']}" if about["chip"] else ""
    threads = "" if device.threads is None else f", threads: {device.threads}"
    peak = "unknown" if device.peak_mb is None else f"{device.peak_mb:,.0f} MB"
    console.print(
        f"\n{about['model']}, {about['system']}{chip}: {engine['name']} {engine['version']} on "
        f"{engine['unit']}{threads}; peak memory: {peak}; from {device.source}",
        markup=False,
    )
    table = Table("milliseconds", "cold load", "warm load", "p50", "p95", box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for name, graph in device.graphs.items():
        cells = (graph.cold_ms, graph.warm_ms, graph.p50_ms, graph.p95_ms)
        table.add_row(name, *(f"{value:,.1f}" for value in cells))
    if device.edit is not None:
        table.add_row("whole edit", "", "", f"{device.edit.p50_ms:,.1f}", f"{device.edit.p95_ms:,.1f}")
    console.print("", table, "")
    for line in _heat(device):
        console.print(line, markup=False)
    test = device.selftest
    names = ("encoder", "denoiser", "decoder", "hole")
    found = ", ".join(
        f"{name} {show.decibels(value)}" for name, value in zip(names, test.values(), strict=True)
    )
    console.print(
        f"self-test there: {'ok' if test.ok else 'FAILED'}; {found}",
        markup=False,
        style=None if test.ok else "red",
    )


def _heat(device: "DeviceSummary") -> list[str]:
    from moebius_edge.devices.summary import ENDS  # noqa: PLC0415

    heat, lines = device.throttling, []
    if heat.ratio is not None and device.edit is not None:
        edits = len(device.edit.times_ms)
        lines.append(
            f"{edits} edits: the last {ENDS} took {heat.ratio:.2f} times as long as the first (medians)"
        )
    known = [value for value in heat.celsius if value is not None]
    if known:
        lines.append(
            f"temperature: {known[0]:.1f} to {known[-1]:.1f} degrees Celsius, highest {max(known):.1f}"
        )
    if device.heat_words:
        lines.append(f"the system says: {device.heat_words}")
    return lines


def print_sizes(sizes: "Sequence[SizeRow]") -> None:
    """Print sizes and dB of several bundles."""
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    heads = ("bundle", "precision", "MB", "encoder", "denoiser", "decoder", "hole", "found by")
    table = Table(*heads, box=None, pad_edge=False)
    for row in sizes:
        for close in row.closeness:
            cells = (row.precision, f"{row.megabytes:,.1f}", *map(show.decibels, close.values()))
            table.add_row(Text(row.name), *cells, Text(close.found))
    show.out().print("", table)
