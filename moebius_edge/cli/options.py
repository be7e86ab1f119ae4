"""Share what several commands that start from a checkpoint have: arguments, options, their output file."""

import os
from pathlib import Path
from typing import Annotated

import typer

RUNTIME_HELP = "Runtime: {runtimes}; default: the bundle's own."

Checkpoint = Annotated[
    str,
    typer.Argument(help="A name that `moebius-edge models` lists, or the path of a local file or folder."),
]
Revision = Annotated[
    str | None, typer.Option(help="Branch, tag or commit of a published checkpoint; default: main.")
]
AutoencoderRevision = Annotated[
    str | None, typer.Option(help="The same of its autoencoder, which the hub has in another repository.")
]
Calibration = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Written by `moebius-edge calibrate`; default: calibrate on the way."),
]
Images = Annotated[
    Path | None,
    typer.Option(
        "--calibration-images",
        metavar="DIR",
        help="Photos to calibrate with, like those the bundle will see; default: eight in the package.",
    ),
]
Runtime = Annotated[str | None, typer.Option(help=RUNTIME_HELP)]
Observer = Annotated[
    str, typer.Option(help="How the range of a layer's integers is chosen from its histogram: {observers}.")
]


def output_file(given: Path | None, checkpoint: str, ending: str, *, overwrite: bool) -> Path:
    """Return the file to write; by default the checkpoint's name with `ending`, in the current folder.

    Raises CalibrationError when it cannot be written, or exists and may not be replaced. It is asked for
    before the work begins, which takes minutes.
    """
    from moebius_edge.bundle.folder import refuse_inside  # noqa: PLC0415
    from moebius_edge.common.errors import CalibrationError  # noqa: PLC0415

    file = given or Path(f"{Path(checkpoint).stem}{ending}")
    refuse_inside(file)
    if file.exists() and not file.is_file():
        raise CalibrationError(f"{file} is not a file and is not replaced; choose another name")
    if file.exists() and not overwrite:
        raise CalibrationError(
            f"{file} already exists; choose another name, or add --overwrite to replace it"
        )
    if not file.parent.is_dir():
        raise CalibrationError(f"cannot write {file}: the folder {file.parent} does not exist")
    if not os.access(file.parent, os.W_OK):
        raise CalibrationError(f"cannot write {file}: the folder {file.parent} may not be written to")
    return file


def bundle_name(checkpoint: str, precision: str) -> str:
    """Return the name of the bundle that a suggested export writes.

    It is never the name of the FP32 bundle, because the two are to be compared.
    """
    return f"{Path(checkpoint).stem}-{precision}.moebius"


def revision_options(revision: str | None, autoencoder_revision: str | None) -> tuple[str, ...]:
    """Return the options of a suggested command that takes the same revisions."""
    given = {"--revision": revision, "--autoencoder-revision": autoencoder_revision}
    return tuple(word for name, value in given.items() if value is not None for word in (name, value))
