"""Measure INT8 layer by layer: the command `ledger`."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from moebius_edge.cli import show
from moebius_edge.cli.options import (
    AutoencoderRevision,
    Calibration,
    Checkpoint,
    Images,
    Observer,
    Revision,
    bundle_name,
    output_file,
    revision_options,
)
from moebius_edge.common.progress import stages
from moebius_edge.precisions import OBSERVER, TARGET_DB, having

if TYPE_CHECKING:
    from moebius_edge.calibration.int8.sensitivity import Ledger


def ledger(  # noqa: PLR0913, PLR0917
    checkpoint: Checkpoint = "nano",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="File to write; default: NAME.ledger.json in the current folder."
        ),
    ] = None,
    calibration: Calibration = None,
    images: Images = None,
    observer: Observer = OBSERVER,
    plot: Annotated[Path | None, typer.Option(metavar="PNG", help="Also draw it.")] = None,
    worst: Annotated[int, typer.Option(min=1, help="Rows of the table.")] = 20,
    revision: Revision = None,
    autoencoder_revision: AutoencoderRevision = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Measure what INT8 costs layer by layer.

    Each layer is quantized alone, and the denoiser runs on real inputs. The dB of a layer are those of the
    denoiser against FP32 when only this layer is in INT8. `export --precision {searched} --ledger FILE`
    keeps the worst layers in floats.
    """
    from moebius_edge.calibration.activations.recording import Recording  # noqa: PLC0415
    from moebius_edge.checkpoints.load import load_checkpoint  # noqa: PLC0415
    from moebius_edge.cli.plotting import check_plot, draw_ledger  # noqa: PLC0415
    from moebius_edge.common.errors import CalibrationError  # noqa: PLC0415
    from moebius_edge.export.options import ExportOptions  # noqa: PLC0415

    with show.only_json(as_json):
        file = output_file(output, checkpoint, ".ledger.json", overwrite=overwrite)
        if plot is not None:
            check_plot(plot)
            if plot.resolve() == file.resolve():
                raise CalibrationError(f"--output and --plot are the same file, {file}; name two")
        options = ExportOptions(observer=observer, images=images)
        recording = Recording.load(calibration) if calibration is not None else None
        with stages(f"{checkpoint} -> {file}") as say:
            say("loading the checkpoint", 0, 1)
            loaded = load_checkpoint(checkpoint, revision, autoencoder_revision)
            from moebius_edge.export.build import measure_ledger  # noqa: PLC0415 (imports torch)

            made = measure_ledger(loaded, options, recording, say)
        made.save(file)
        if plot is not None:
            draw_ledger(made, plot)
    if as_json:
        show.print_json(asdict(made))
        return
    _print_ledger(made, worst)
    console = show.out()
    console.print(f"wrote {file}" + (f" and {plot}" if plot is not None else ""), markup=False)
    again = [
        *revision_options(revision, autoencoder_revision),
        *(("--observer", observer) if observer != OBSERVER else ()),
    ]
    for option, value in (("--calibration", calibration), ("--calibration-images", images)):
        again += [option, str(value)] if value is not None else []
    precision = having("searched")[0]
    again += ["--output", bundle_name(checkpoint, precision)]
    # Not the default target, for which nano's INT8 keeps no layer and reads no ledger.
    aim = f"{TARGET_DB + 10:g}"
    show.suggest("export", checkpoint, "--precision", precision, "--target-db", aim, "--ledger", file, *again)


def _print_ledger(made: "Ledger", worst: int) -> None:
    from rich.table import Table  # noqa: PLC0415

    from moebius_edge.calibration.int8.sensitivity import decibels  # noqa: PLC0415

    everything = sum(entry.macs for entry in made.entries)
    table = Table("layer", "operator", "dB, alone", "MACs", box=None, pad_edge=False)
    for entry in made.entries[:worst]:
        operator = f"{entry.op}, depthwise" if entry.depthwise else entry.op
        table.add_row(entry.layer, operator, f"{entry.db:.1f}", f"{100 * entry.macs / everything:.2f} %")
    console = show.out()
    console.print(table, "")
    console.print(
        f"{len(made.entries)} layers; all in INT8: {decibels(made.together):.1f} dB, their noises added: "
        f"{decibels(made.predicted):.1f} dB",
        markup=False,
    )
