"""`profile`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from moebius_edge.cli import show
from moebius_edge.progress import progress

if TYPE_CHECKING:
    from moebius_edge.profiling import EditTiming, Profile, Timing


def profile(  # noqa: PLR0913, PLR0917 (a parameter is an option of the command line)
    bundle: Annotated[
        Path, typer.Argument(metavar="BUNDLE", help="A bundle folder, called A in the output.")
    ],
    against: Annotated[
        Path | None, typer.Option(help="Another bundle, B, timed in turns with the first one.")
    ] = None,
    graph: Annotated[
        list[str] | None,
        typer.Option(help="Only this graph: encoder, denoiser or decoder; may be given more than once."),
    ] = None,
    runs: Annotated[int, typer.Option(help="Timed runs of each graph.")] = 10,
    edits: Annotated[int, typer.Option(help="Timed whole edits; 0 = none. None also with --graph.")] = 3,
    steps: Annotated[
        int | None, typer.Option(help="Steps of a whole edit; default: the bundle's, usually 20.")
    ] = None,
    runtime: Annotated[str | None, typer.Option(help="Engine; default: each bundle's own.")] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads; default: one per core.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Also draw the times into this PNG.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Measure time and memory of a bundle here, alone or against another one.

    With two bundles, runs alternate pair by pair and the ratio is the median over the pairs of (time of B /
    time of A): above 1, A is faster. Loading and peak memory come from a fresh process for each bundle. For
    the full-size model: `profile A --against B --graph denoiser --runs 5`.
    """
    from moebius_edge.bundle import Bundle  # noqa: PLC0415
    from moebius_edge.manifest import GRAPH_NAMES  # noqa: PLC0415
    from moebius_edge.profiling import ProfileOptions  # noqa: PLC0415
    from moebius_edge.profiling import profile as measure  # noqa: PLC0415

    if plot is not None:
        from moebius_edge.plotting import check_plot  # noqa: PLC0415

        check_plot(plot)
    options = ProfileOptions(tuple(graph or GRAPH_NAMES), runs, edits, steps, runtime, threads)
    with show.only_json(as_json), progress("profiling") as tick:
        opened = Bundle.open(bundle)
        other = Bundle.open(against) if against is not None else None
        measured = measure(opened, other, options, tick)
        if plot is not None:
            from moebius_edge.plotting import draw  # noqa: PLC0415

            draw(measured, plot)
    if as_json:
        show.print_json(measured.to_json())
        return
    _print_profile(measured)
    if plot is not None:
        show.out().print(f"\nwrote {plot}", markup=False)


def _print_profile(profile: "Profile") -> None:
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
    if profile.edit is not None:
        console.print(
            f"A whole edit loads each graph, encodes twice, runs {profile.edit.denoiser_runs} of "
            f"{profile.edit.steps} steps, decodes and pastes.\n",
            markup=False,
        )
    _print_efficiency(profile)


def _times(timing: "Timing | EditTiming") -> list[str]:
    """The cells of one row, from the load time on."""
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
