"""List and download checkpoints: the commands `models` and `pull`."""

from typing import Annotated

import typer

from moebius_edge.cli import show
from moebius_edge.cli.options import AutoencoderRevision, revision_options


def models() -> None:
    """List the checkpoints that `export` and `pull` know by name."""
    from rich.table import Table  # noqa: PLC0415

    from moebius_edge.checkpoints.models import MODELS  # noqa: PLC0415

    table = Table("name", "what it is", "download", "licence", box=None, pad_edge=False)
    table.add_column("where", overflow="fold")
    for entry in MODELS.values():
        download = f"{entry.megabytes:,} MB" if entry.megabytes else "none"
        table.add_row(entry.name, entry.purpose, download, entry.license, entry.source)
    console = show.out()
    console.print(table)
    console.print(
        f"\nA name, or the path of a local checkpoint, goes into: {show.called()} export NAME --output DIR",
        markup=False,
    )


def pull(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A downloadable name that `moebius-edge models` lists.")
    ],
    revision: Annotated[
        str | None, typer.Option(help="Branch, tag or commit of the hub's repository; default: main.")
    ] = None,
    autoencoder_revision: AutoencoderRevision = None,
) -> None:
    """Download a published checkpoint and check all of it.

    It goes into the hub's cache (HF_HOME). What is there already is not downloaded again, and an interrupted
    download goes on where it stopped. `export` downloads by itself; this does it ahead of time.
    """
    from moebius_edge.checkpoints.load import pull as pull_checkpoint  # noqa: PLC0415

    files = pull_checkpoint(name, revision, autoencoder_revision)
    console = show.out()
    console.print(f"{name} is complete:", markup=False)
    for path in files:
        console.print(f"  {show.size(path.stat().st_size):>9}  {path}", markup=False)
    revisions = revision_options(revision, autoencoder_revision)
    show.suggest("export", name, *revisions, "--output", f"{name}.moebius")
