"""Ship a bundle: the commands `package` and `serve`."""

import shlex
import webbrowser
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from moebius_edge.cli import show
from moebius_edge.common.progress import progress

if TYPE_CHECKING:
    from moebius_edge.bundle.folder import Bundle
    from moebius_edge.checking.report import Report
    from moebius_edge.packaging.package import Plan

PORT = 8000


def package(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle folder.")],
    platform: Annotated[
        str,
        typer.Option(help="What the app is for: {platforms}."),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="DIR", help="New folder of the project; --dry-run needs none."
        ),
    ] = None,
    license_file: Annotated[
        Path | None,
        typer.Option("--license", metavar="FILE", help="The text of the model's licence, if not Apache-2.0."),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Only list sizes, limits and the memory of a short edit."),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a package that nobody has changed.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Make an app's project: the bundle, the loop in the platform's language, a screen.

    The bundle is verified first. One that fails, is too large for the platform or has no licence text is
    refused, and nothing is written. `--dry-run` exits 1 when the platform refuses the bundle's size. What to
    type in the project is printed at the end; `moebius-edge serve` shows a built page for the web.
    """
    from moebius_edge.bundle.folder import Bundle  # noqa: PLC0415
    from moebius_edge.common.errors import InvalidInput  # noqa: PLC0415
    from moebius_edge.packaging.package import find_platform, plan, write  # noqa: PLC0415

    row = find_platform(platform)
    if output is None and not dry_run:
        raise InvalidInput("name a new folder with --output, or look first with --dry-run")
    with show.only_json(as_json):
        opened = Bundle.open(bundle)
        if output is None or dry_run:
            made, memory = plan(opened, row), _memory(opened)
        else:
            made, memory = (
                write(opened, row, output, _verified, license_file=license_file, overwrite=overwrite),
                None,
            )
    if as_json:
        written = None if dry_run else str(output)
        show.print_json({**made.to_json(), "peak_memory_mb": memory, "output": written})
    else:
        _print_plan(made)
        if dry_run or output is None:
            _print_memory(opened, memory)
            show.out().print("nothing was written or verified: a dry run", markup=False)
        else:
            show.out().print(f"wrote {output}", markup=False)
            for command in (shlex.join(["cd", str(output)]), *row.next):
                show.out().print(f"  {command}", markup=False)
    if dry_run and made.refusals:
        raise typer.Exit(show.FAILED)


def _verified(bundle: "Bundle") -> "Report":
    from moebius_edge.checking.verify import verify  # noqa: PLC0415
    from moebius_edge.runtimes import open_runtime  # noqa: PLC0415

    with progress("verifying") as tick:
        return verify(bundle, open_runtime(bundle), progress=tick)


def _memory(bundle: "Bundle") -> float | None:
    """Return the largest memory of a short edit in a process of its own, in 10^6 bytes; None: unknown."""
    from moebius_edge.bundle.manifest import GRAPH_NAMES  # noqa: PLC0415
    from moebius_edge.checking.first_run import measure_first_run  # noqa: PLC0415

    if bundle.manifest.runtime != "onnxruntime":  # what stands in for another engine has other needs
        return None
    with progress("one short edit, for its memory"):
        return measure_first_run(bundle, GRAPH_NAMES).peak_mb


def _print_plan(made: "Plan") -> None:
    out = show.out()
    out.print(
        f"{made.bundle} for {made.platform}: {made.model}, {made.precision}, {made.license}", markup=False
    )
    for name, count in made.graphs.items():
        out.print(f"  {name:10} {show.size(count):>10}", markup=False)
    out.print(f"  {'all three':10} {show.size(made.graphs_bytes):>10}", markup=False)
    out.print(
        f"download {show.size(made.download_bytes)}: the graphs, the manifest and the self-test", markup=False
    )
    for each in made.additions:
        out.print(
            f"  besides {each.what}: {each.megabytes:.1f} MB, {each.compressed_mb:.1f} compressed in transit",
            markup=False,
        )
    for sentence in made.refusals:
        out.print(f"REFUSED  {sentence}", markup=False, style="red")
    if not made.exceeded:
        out.print("limits: all files are below those of the platform and its hosts", markup=False)
    for sentence in (*made.warnings, *made.notes):
        out.print(f"note     {sentence}", markup=False)


def _print_memory(bundle: "Bundle", memory: float | None) -> None:
    if memory is not None:
        sentence = (
            f"memory: an edit peaks at {memory:,.0f} MB in {bundle.manifest.runtime} on this machine; a "
            "device may differ"
        )
    else:
        sentence = "memory: not known here; the app's profile measures it on the device"
    show.out().print(sentence, markup=False)


def serve(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A built package for the web.")],
    port: Annotated[int, typer.Option(help="TCP port on 127.0.0.1; 0: any that is free.")] = PORT,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in a browser, too.")] = False,
) -> None:
    """Serve a web package on this machine, with the headers that threads in the browser need.

    Only programs on this machine reach it. Ctrl-C or SIGTERM ends it. Other hosts must send the same headers:
    Cross-Origin-Opener-Policy same-origin, Cross-Origin-Embedder-Policy require-corp.
    """
    from moebius_edge.packaging.serve import make_server  # noqa: PLC0415

    with make_server(folder, port) as server, suppress(KeyboardInterrupt):
        host, chosen = server.server_address[:2]
        show.out().print(f"http://{host!s}:{chosen}/  (Ctrl-C ends it)", markup=False)
        if open_page and not webbrowser.open(f"http://{host!s}:{chosen}/"):
            show.out().print("no browser was found; open the address yourself", markup=False)
        server.serve_forever()
