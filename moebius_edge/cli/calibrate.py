"""`calibrate`."""

from pathlib import Path
from typing import Annotated

import typer

from moebius_edge.cli import show

# Options that `export` has too.
Images = Annotated[
    Path | None,
    typer.Option(
        "--calibration-images",
        metavar="DIR",
        help="Photos to calibrate with, like those the bundle will see; default: eight in the package.",
    ),
]
Observer = Annotated[
    str, typer.Option(help="How ranges are read off what was seen: minmax, percentile, entropy or mse.")
]


def calibrate(
    checkpoint: Annotated[
        str,
        typer.Argument(
            help="A name that `moebius-edge models` lists, or the path of a local file or folder."
        ),
    ] = "nano",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="File to write; default: NAME.calibration in the current folder."
        ),
    ] = None,
    images: Images = None,
    edits: Annotated[int, typer.Option(help="Photos with holes whose loop is followed.")] = 12,
    steps_per_edit: Annotated[int, typer.Option(help="Steps of each loop that are looked at.")] = 5,
    seed: Annotated[int, typer.Option(help="Of masks, noise and choice of steps.")] = 0,
    revision: Annotated[
        str | None, typer.Option(help="Branch, tag or commit of a published checkpoint; default: main.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
) -> None:
    """Record what a model's layers hold on real edits, once for all targets and precisions.

    Holes are drawn into photos and the FP32 loop is followed; histograms of every layer are written, never
    photos. `export --calibration FILE` uses the recording.
    """
    from moebius_edge.calibration.data import CalibrationOptions  # noqa: PLC0415
    from moebius_edge.checkpoints import load_checkpoint  # noqa: PLC0415
    from moebius_edge.errors import CalibrationError  # noqa: PLC0415
    from moebius_edge.export.build import ExportOptions, record_ranges  # noqa: PLC0415

    calibration = CalibrationOptions(edits=edits, steps_per_edit=steps_per_edit, seed=seed)
    file = output or Path(f"{Path(checkpoint).stem}.calibration")
    if file.exists() and not overwrite:
        raise CalibrationError(
            f"{file} already exists; choose another name, or add --overwrite to replace it"
        )
    with show.stages(f"{checkpoint} -> {file}") as say:
        say("loading the checkpoint", 0, 1)
        loaded = load_checkpoint(checkpoint, revision)
        recording = record_ranges(loaded, ExportOptions(calibration=calibration, images=images), say)
        recording.save(file)
    samples, sites = recording.recipe["samples"], len(recording.histograms)
    show.out().print(f"wrote {file} ({sites} histograms from {samples} denoiser inputs)", markup=False)
    following = f"next: {show.called()} export {checkpoint} --precision int8 --calibration {file}"
    show.out().print(following, markup=False)
