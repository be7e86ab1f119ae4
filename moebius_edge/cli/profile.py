"""Measure time and memory: the command `profile`."""

from pathlib import Path
from typing import Annotated

import typer

from moebius_edge.cli import show

EDITS_HERE, EDITS_THERE = 3, 20  # there: enough for a phone to grow hot
DEVICES, REPORT = "Devices", "Report"


def profile(  # noqa: PLR0913, PLR0917 (a parameter is an option of the command line)
    bundle: Annotated[
        Path, typer.Argument(metavar="BUNDLE", help="A bundle folder, called A in the output.")
    ],
    against: Annotated[
        Path | None, typer.Option(help="Another bundle, B, timed in turns with the first one.")
    ] = None,
    graph: Annotated[
        list[str] | None,
        typer.Option(help="Time only this graph here: encoder, denoiser or decoder; again for another."),
    ] = None,
    runs: Annotated[int, typer.Option(help="Timed runs of each graph.")] = 10,
    edits: Annotated[
        int | None,
        typer.Option(
            help=f"Timed whole edits; 0 = none. Default: {EDITS_HERE} on this machine, but none if --graph "
            f"chooses some; {EDITS_THERE} on a device."
        ),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Steps of a whole edit; default: the bundle's, usually 20.")
    ] = None,
    runtime: Annotated[
        str | None, typer.Option(help="Runtime here: {runtimes}; default: each bundle's own.")
    ] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads here; default: one per core.")] = None,
    device: Annotated[
        str | None,
        typer.Option(
            metavar="KIND",
            help="Also measure on a connected device: {kinds}.",
            rich_help_panel=DEVICES,
        ),
    ] = None,
    serial: Annotated[
        str | None, typer.Option(help="Which device, where there are several.", rich_help_panel=DEVICES)
    ] = None,
    timeout: Annotated[
        float, typer.Option(help="Minutes in which the device must be done.", rich_help_panel=DEVICES)
    ] = 60.0,
    save: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Keep the device's JSON, for --import.", rich_help_panel=DEVICES),
    ] = None,
    imported: Annotated[
        list[Path] | None,
        typer.Option(
            "--import",
            metavar="FILE",
            help="Also show a JSON file that --save or an app's own profile has written (in a web package: "
            "?profile=1 in the address); again for another one.",
            rich_help_panel=DEVICES,
        ),
    ] = None,
    local: Annotated[
        bool, typer.Option("--local/--no-local", help="Measure on this machine.", rich_help_panel=DEVICES)
    ] = True,
    beside: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="BUNDLE",
            help="Also show this bundle's size and dB; again for another one.",
            rich_help_panel=REPORT,
        ),
    ] = None,
    verify_db: Annotated[
        bool,
        typer.Option("--verify-db", help="Run the self-tests here for the dB.", rich_help_panel=REPORT),
    ] = False,
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write everything as one HTML file.", rich_help_panel=REPORT),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(help="Draw the times that were taken here into this PNG.", rich_help_panel=REPORT),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object on standard output.", rich_help_panel=REPORT)
    ] = False,
) -> None:
    """Measure time and memory of a bundle, here or on a phone, alone or against another one.

    With two bundles, runs alternate pair by pair and the ratio is the median over the pairs of (time of B /
    time of A): above 1, A is faster. Loading and peak memory come from a fresh process for each bundle. For
    the full-size model: `profile A --against B --graph denoiser --runs 5`. On a phone: install the app of
    `moebius-edge package`, then `profile A --device android --html report.html`.
    """
    from moebius_edge.bundle.manifest import GRAPH_NAMES  # noqa: PLC0415
    from moebius_edge.checking.profile import ProfileOptions  # noqa: PLC0415
    from moebius_edge.cli import profile_work as work  # noqa: PLC0415

    here = EDITS_HERE if edits is None else edits
    request = work.Request(
        bundle=bundle,
        against=against,
        options=ProfileOptions(tuple(graph or GRAPH_NAMES), runs, here, steps, runtime, threads),
        local=local,
        device=device,
        serial=serial,
        device_edits=EDITS_THERE if edits is None else edits,
        minutes=timeout,
        save=save,
        imported=tuple(imported or ()),
        beside=tuple(beside or ()),
        verify_db=verify_db,
        html=html,
        plot=plot,
    )
    with show.only_json(as_json):
        findings = work.find(request)
    # Before files are written: what took minutes to measure is seen even if a disk is full.
    if as_json:
        show.print_json(findings.to_json())
    else:
        work.print_findings(request, findings)
    for path in work.write(request, findings):
        if not as_json:
            show.out().print(f"\nwrote {path}", markup=False)
    if not findings.ok:
        raise typer.Exit(show.FAILED)
