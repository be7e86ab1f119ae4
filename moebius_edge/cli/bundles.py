"""Make bundles: the commands `export` and `import-engine`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from moebius_edge.cli import show
from moebius_edge.cli.doctor import print_usability
from moebius_edge.cli.options import (
    AutoencoderRevision,
    Calibration,
    Checkpoint,
    Images,
    Observer,
    Revision,
)
from moebius_edge.cli.payoff import print_conversion, print_payoff
from moebius_edge.common.progress import stages
from moebius_edge.precisions import OBSERVER, TARGET_DB

if TYPE_CHECKING:
    from moebius_edge.bundle.folder import Bundle
    from moebius_edge.checkpoints.checkpoint import Checkpoint as Loaded


def export(  # noqa: PLR0913, PLR0917
    checkpoint: Checkpoint = "nano",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder to write; default: NAME.moebius in the current folder."),
    ] = None,
    target: Annotated[str, typer.Option(help="What the bundle is to run on: {targets}.")] = "ort",
    precision: Annotated[
        str | None,
        typer.Option(
            help="{precisions}. The first four are arithmetic, floats or integers; w and p store the weights "
            "alone in so many bits and compute in floats. Not every target has all. Default: {defaults}."
        ),
    ] = None,
    graph: Annotated[
        str,
        typer.Option(
            help="How the graphs are written. `deploy`: rewritten to be faster, with the same results. "
            "`direct`: as the model is in PyTorch, to compare."
        ),
    ] = "deploy",
    calibration: Calibration = None,
    images: Images = None,
    observer: Observer = OBSERVER,
    target_db: Annotated[
        float,
        typer.Option(
            help="Only for {searched}: how close to FP32 the filled hole must be, {dbs} dB. It keeps as few "
            "layers in floats as that takes."
        ),
    ] = TARGET_DB,
    ledger: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Only for {searched}: what each layer costs, by `moebius-edge ledger`; else measured now.",
        ),
    ] = None,
    compare: Annotated[
        bool,
        typer.Option(
            "--compare/--no-compare",
            help="Unless it is fp32: also make the denoiser in fp32, time a step of both and run the "
            "self-test, which takes a while for the full model.",
        ),
    ] = True,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="A setting of the target; again for another one. The first value is the default. {settings}",
        ),
    ] = None,
    solver: Annotated[str, typer.Option(help="What takes the noise away, step by step: {solvers}.")] = "ddim",
    build_kit: Annotated[
        bool,
        typer.Option(
            "--build-kit",
            help="Only for {kits}: write no engine files, but graphs and a script that builds them on the "
            "machine with the GPU.",
        ),
    ] = False,
    revision: Revision = None,
    autoencoder_revision: AutoencoderRevision = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing bundle.")] = False,
) -> None:
    """Turn a checkpoint into a bundle.

    An error or Ctrl-C leaves nothing behind: the bundle appears only when it is complete, and with
    `--overwrite` the old bundle stays until then. Full-size models take minutes.
    """
    from moebius_edge.bundle.manifest import MANIFEST_NAME  # noqa: PLC0415
    from moebius_edge.calibration.activations.recording import Recording  # noqa: PLC0415
    from moebius_edge.calibration.int8.sensitivity import Ledger  # noqa: PLC0415
    from moebius_edge.checkpoints.load import load_checkpoint  # noqa: PLC0415
    from moebius_edge.common.errors import ExportError  # noqa: PLC0415
    from moebius_edge.common.staging import refuse_occupied  # noqa: PLC0415
    from moebius_edge.export.options import ExportOptions, check_used, default_precision, parse_settings  # noqa: PLC0415
    from moebius_edge.export.targets.registry import find_target  # noqa: PLC0415

    options = ExportOptions(
        target,
        default_precision(target) if precision is None else precision,
        graph,
        observer,
        images=images,
        target_db=target_db,
        solver=solver,
        settings=parse_settings(settings or ()),
    )
    if build_kit and find_target(target).kit is None:
        raise ExportError(f"there is no build kit for {target}; leave --build-kit away")
    check_used(options, recording=calibration is not None, ledger=ledger is not None)
    folder = output or Path(f"{Path(checkpoint).stem}.moebius")
    refuse_occupied(folder, overwrite, MANIFEST_NAME)
    recording = Recording.load(calibration) if calibration is not None else None
    costs = Ledger.load(ledger) if ledger is not None else None
    with stages(f"{checkpoint} -> {folder}") as say:
        say("loading the checkpoint", 0, 1)
        loaded = load_checkpoint(checkpoint, revision, autoencoder_revision)
        from moebius_edge.export.build import export_bundle  # noqa: PLC0415 (imports torch)

        bundle = export_bundle(
            loaded,
            folder,
            options,
            overwrite=overwrite,
            artifacts=not build_kit,
            recording=recording,
            ledger=costs,
            progress=say,
        )
    _print_written(bundle)
    print_conversion(bundle)
    if build_kit:
        for step in find_target(target).kit_steps:
            show.out().print(step.format(folder=folder), markup=False)
        return
    if compare and options.precision != "fp32":
        _compare(loaded, bundle)
    _examine(bundle)
    _suggest_verify(bundle)


def _print_written(bundle: "Bundle") -> None:
    manifest = bundle.manifest
    what = (show.size(manifest.total_bytes), manifest.target, manifest.precision, manifest.graph)
    show.out().print(f"wrote {bundle.folder} ({', '.join(what)})", markup=False)


def _compare(checkpoint: "Loaded", bundle: "Bundle") -> None:
    """Time a step against FP32's, which is done in ONNX Runtime and says nothing of another engine."""
    engine = bundle.manifest.runtime
    if engine == "onnxruntime":
        print_payoff(checkpoint, bundle)
    else:
        show.out().print(f"to compare it with another precision, where {engine} runs: profile A --against B")


def _examine(bundle: "Bundle") -> None:
    """Ask the target's doctor, if it has one."""
    from moebius_edge.export.targets.registry import find_doctor, find_target  # noqa: PLC0415

    target = find_target(bundle.manifest.target)
    if target.doctor is not None:
        print_usability(find_doctor(target.name)(bundle))


def _suggest_verify(bundle: "Bundle") -> None:
    from moebius_edge.runtimes import runtimes  # noqa: PLC0415

    row = runtimes().get(bundle.manifest.runtime)  # that of another target may be on another machine
    if row is not None and row.where:
        show.out().print(f"{row.where}, next:", markup=False)
    show.suggest("verify", bundle.folder)


def import_engine(
    kit: Annotated[Path, typer.Argument(metavar="KIT", help="A folder written by `export --build-kit`.")],
    engines: Annotated[Path, typer.Argument(metavar="ENGINES", help="The folder that its build.py wrote.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing bundle.")] = False,
) -> None:
    """Make a bundle of TensorRT engine files that another machine has built.

    `export --target tensorrt --build-kit` writes a kit. On the machine with the GPU its build.py makes engine
    files of it. Those of other graphs or of another build, and damaged ones, are refused, and nothing is
    written.
    """
    from moebius_edge.bundle.folder import Bundle  # noqa: PLC0415
    from moebius_edge.bundle.manifest import MANIFEST_NAME  # noqa: PLC0415
    from moebius_edge.common.staging import refuse_occupied  # noqa: PLC0415
    from moebius_edge.export.targets.registry import find_importer  # noqa: PLC0415

    refuse_occupied(output, overwrite, MANIFEST_NAME)
    opened = Bundle.open(kit)
    take_back = find_importer(opened)
    bundle = take_back(opened, engines, output, overwrite=overwrite)
    _print_written(bundle)
    _suggest_verify(bundle)
