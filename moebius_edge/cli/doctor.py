"""Show what accelerators would take of a bundle: the command `doctor`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from moebius_edge.cli import show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moebius_edge.export.doctor import Fall, Usability

REASONS = 3  # of each row of the table; --json has all


def doctor(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle folder.")],
    target: Annotated[
        str | None, typer.Option(help="What it is to run on; default: the target it was exported for.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Show how much of a bundle a device's accelerators could compute, and what is left to its CPU.

    A row is one accelerator and one graph. A graph is a list of operations, its *nodes*; a graph's work is
    counted in multiply-accumulates, *MACs*. Shown are in how many *partitions* the accelerator takes the
    graph (between two of them data goes to the CPU and back), how many nodes and what share of the MACs, and
    which operations are left, heaviest first.

    These are looked at: {doctors}. The rules are published ones, read without a device, so the numbers are
    upper bounds. Nothing is run.
    """
    from moebius_edge.bundle.folder import Bundle  # noqa: PLC0415
    from moebius_edge.export.targets.registry import find_doctor  # noqa: PLC0415

    with show.only_json(as_json):
        opened = Bundle.open(bundle)
        answer = find_doctor(target or opened.manifest.target)(opened)
    if as_json:
        show.print_json(answer.to_json())
    else:
        print_usability(answer)


def print_usability(answer: "Usability") -> None:
    """Print the short table."""
    from rich.table import Table  # noqa: PLC0415

    console = show.out()
    table = Table(
        "provider", "graph", "partitions", "nodes", "MACs", "left to others", box=None, pad_edge=False
    )
    for provider in answer.providers:
        for graph in provider.graphs:
            table.add_row(
                provider.provider,
                graph.graph,
                str(graph.partitions),
                f"{graph.taken} of {graph.nodes}",
                f"{100 * graph.share:.0f} %",
                _listed(graph.falls) + (f"; slow: {_listed(graph.slow)}" if graph.slow else ""),
            )
    console.print(table)


def _listed(falls: "Sequence[Fall]") -> str:
    listed = [f"{fall.nodes} {fall.operator} ({fall.reason})" for fall in falls[:REASONS]]
    if len(falls) > REASONS:
        listed.append(f"{len(falls) - REASONS} more")
    return ", ".join(listed) or "-"
