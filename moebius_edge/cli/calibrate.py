"""Record what a model's layers hold: the command `calibrate`."""

from pathlib import Path
from typing import Annotated

import typer

from moebius_edge.cli import show
from moebius_edge.cli.options import (
    AutoencoderRevision,
    Checkpoint,
    Images,
    Revision,
    bundle_name,
    output_file,
    revision_options,
)
from moebius_edge.common.progress import stages
from moebius_edge.precisions import having


def calibrate(  # noqa: PLR0913, PLR0917
    checkpoint: Checkpoint = "nano",
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
    revision: Revision = None,
    autoencoder_revision: AutoencoderRevision = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
) -> None:
    """Record how large the numbers in a model get on real edits, once for all targets and precisions.

    To store numbers in fewer bits one must know how large they get. Holes are drawn into photos and edits are
    made in 32-bit floats. The recording has a histogram of what each layer reads and gives, and never photos.
    `export --calibration FILE` uses it.
    """
    from moebius_edge.calibration.activations.data import CalibrationOptions  # noqa: PLC0415
    from moebius_edge.checkpoints.load import load_checkpoint  # noqa: PLC0415
    from moebius_edge.export.options import ExportOptions  # noqa: PLC0415

    calibration = CalibrationOptions(edits=edits, steps_per_edit=steps_per_edit, seed=seed)
    options = ExportOptions(calibration=calibration, images=images)
    file = output_file(output, checkpoint, ".calibration", overwrite=overwrite)
    with stages(f"{checkpoint} -> {file}") as say:
        say("loading the checkpoint", 0, 1)
        loaded = load_checkpoint(checkpoint, revision, autoencoder_revision)
        from moebius_edge.export.build import record_ranges  # noqa: PLC0415 (imports torch)

        recording = record_ranges(loaded, options, say)
        recording.save(file)
    samples, sites = recording.recipe["samples"], len(recording.histograms)
    show.out().print(f"wrote {file} ({sites} histograms from {samples} denoiser inputs)", markup=False)
    precision = having("calibrated")[0]
    again = [
        *revision_options(revision, autoencoder_revision),
        "--output",
        bundle_name(checkpoint, precision),
    ]
    show.suggest("export", checkpoint, "--precision", precision, "--calibration", file, *again)
