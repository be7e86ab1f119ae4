"""Prove a bundle where it is to run: the command `prove`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from moebius_edge.cli import show
from moebius_edge.cli.options import Runtime
from moebius_edge.common.progress import stages

if TYPE_CHECKING:
    from moebius_edge.bundle.proofs import Proof

RUNS = 10


def prove(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle folder.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the proof as JSON, too.")
    ] = None,
    attach: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Measure nothing: put this proof of the same bundle into it."),
    ] = None,
    unit: Annotated[
        list[str] | None, typer.Option(help="A compute unit; again for another one. Default: all.")
    ] = None,
    runs: Annotated[int, typer.Option(help="Timed runs of each graph, on each unit.")] = RUNS,
    runtime: Runtime = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Run the self-test and time each graph on every processor of this machine; keep that in the bundle.

    `verify` checks on one processor and keeps nothing. This proves a bundle on the machine where it is to
    run, on each compute unit of the engine (Core ML: CPU_AND_NE, CPU_AND_GPU, CPU_ONLY, ALL). To bring the
    proof to another copy of the bundle: `--output proof.json` there, `--attach proof.json` here. Exit 1 when
    no unit passes.
    """
    from moebius_edge.bundle.folder import Bundle, refuse_inside  # noqa: PLC0415
    from moebius_edge.bundle.proofs import read  # noqa: PLC0415
    from moebius_edge.checking.prove import attach as keep  # noqa: PLC0415
    from moebius_edge.checking.prove import prove as measure  # noqa: PLC0415
    from moebius_edge.common.errors import InvalidInput  # noqa: PLC0415
    from moebius_edge.common.files import write_atomically  # noqa: PLC0415

    if attach is not None and (unit or runtime or output or runs != RUNS):
        raise InvalidInput("--attach measures nothing: leave --unit, --runs, --runtime and --output away")
    if output is not None:
        refuse_inside(output)
    with show.only_json(as_json), stages(f"proving {bundle.name}") as say:
        opened = Bundle.open(bundle)
        if attach is not None:
            proof = read(attach)
        else:
            proof = measure(opened, runtime=runtime, units=unit or (), runs=runs, progress=say)
        if output is not None:  # first: the bundle may be read-only
            write_atomically(output, json.dumps(proof.to_json(), indent=1).encode())
        keep(opened, proof)
    if as_json:
        show.print_json(proof.to_json())
    else:
        print_proof(proof)
    if not proof.ok:
        raise typer.Exit(show.FAILED)


def print_proof(proof: "Proof") -> None:
    """Print a table with a row for each graph on each unit."""
    from rich.table import Table  # noqa: PLC0415

    from moebius_edge.runtimes import find_runtime  # noqa: PLC0415

    console = show.out()
    versions = ", ".join(f"{name} {version}" for name, version in proof.versions.items())
    console.print(f"{proof.machine['processor']}, {proof.machine['system']}; {versions}", markup=False)
    table = Table(
        "unit", "graph", "closeness", "p50", "p95", "load", "operators on", box=None, pad_edge=False
    )
    for unit in proof.units:
        for name, graph in unit.graphs.items():
            load = "-" if graph.load_ms is None else f"{graph.load_ms:.0f} ms"
            devices = ", ".join(f"{device} {count}" for device, count in graph.devices.items()) or "-"
            times = (f"{graph.p50_ms:.1f} ms", f"{graph.p95_ms:.1f} ms", load)
            table.add_row(unit.unit, name, show.decibels(graph.db), *times, devices)
    console.print(table)
    for unit in proof.units:
        verdict = f"ok, hole {show.decibels(unit.hole_db)}" if unit.ok else "FAILED"
        console.print(f"{unit.unit}: {'; '.join((verdict, *unit.failures))}", markup=False)
    if instead := find_runtime(proof.runtime).stands_in:
        console.print(
            f"note: {proof.runtime} is {instead}: this proves the numbers, and neither the "
            "engine nor its times",
            markup=False,
        )
