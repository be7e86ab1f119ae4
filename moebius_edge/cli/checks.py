"""Check and show bundles: the commands `verify` and `inspect`."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from moebius_edge.cli import show
from moebius_edge.cli.options import Runtime
from moebius_edge.common.progress import progress

if TYPE_CHECKING:
    from moebius_edge.bundle.folder import Bundle
    from moebius_edge.bundle.proofs import Proof
    from moebius_edge.checking.report import Report


def verify(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle folder.")],
    reference: Annotated[
        bool | None,
        typer.Option(
            "--reference/--no-reference",
            help="Also run the FP32 PyTorch reference now, against the bundle's record of it. Default: "
            "where torch is installed and nothing has to be downloaded.",
        ),
    ] = None,
    runtime: Runtime = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads; default: one per core.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Replay a bundle's self-test here: is it as close to the FP32 reference as it must be?

    First every file is checked by its SHA-256. Then three things are compared with the reference: each graph
    on the reference's own inputs, the whole edit by the bundle alone, and what guidance hangs on, the
    difference of the denoiser's two predictions. Exit 1 when a number is below its threshold.

    dB are 20 log10(peak / rms error), where the peak is the range of the reference, and 255 for pictures: 40
    dB in a picture is an error of 2.6 grey levels. `prove` does this on each processor, and keeps the answer.
    """
    from moebius_edge.bundle.folder import Bundle  # noqa: PLC0415
    from moebius_edge.checking.find_reference import find_reference  # noqa: PLC0415
    from moebius_edge.checking.verify import verify as verify_bundle  # noqa: PLC0415
    from moebius_edge.runtimes import open_runtime  # noqa: PLC0415

    with show.only_json(as_json), progress("verifying") as tick:
        opened = Bundle.open(bundle)
        engine = open_runtime(opened, runtime, threads)
        truth, note = find_reference(opened, reference)
        report = verify_bundle(opened, engine, truth, reference_note=note, progress=tick)
    if as_json:
        show.print_json(report.to_json())
    else:
        _print_report(report)
    if not report.ok:
        raise typer.Exit(show.FAILED)


def inspect(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Show what a bundle is: model, licence, graphs with inputs and outputs, defaults, files.

    Every file is compared with its SHA-256 before anything is shown; no engine is needed.
    """
    from moebius_edge.bundle.folder import Bundle  # noqa: PLC0415

    with show.only_json(as_json):
        opened = Bundle.open(bundle)
    if as_json:
        facts = {"bundle": opened.folder.resolve().name, "bytes": opened.manifest.total_bytes}
        show.print_json({**facts, **asdict(opened.manifest)})
    else:
        _print_bundle(opened)


def _print_report(report: "Report") -> None:
    from rich.table import Table  # noqa: PLC0415

    console, needed = show.out(), report.thresholds
    console.print(f"{report.bundle}: {report.precision} on {report.runtime}\n", markup=False)
    graphs = Table("graph", "max error", "closeness", "needed", box=None, pad_edge=False)
    for name, graph in report.graphs.items():
        error = "NaN or Inf" if graph.max_abs is None else f"{graph.max_abs:.2e}"
        graphs.add_row(name, error, show.decibels(graph.db), f"{needed.graph_db(name):g} dB")
    console.print(graphs, "")
    steps = Table("step", "timestep", "noise", "latents", "needed", box=None, pad_edge=False)
    for number, step in enumerate(report.steps, 1):
        noise, latents = show.decibels(step.noise_db), show.decibels(step.latents_db)
        steps.add_row(str(number), str(step.timestep), noise, latents, f"{needed.latents_db:g} dB")
    console.print(steps, "")
    for name, guidance in report.guidance.items():
        ratio = "-" if guidance.ratio is None else f"{guidance.ratio:.5f}"
        correlation = "-" if guidance.correlation is None else f"{guidance.correlation:.5f}"
        console.print(f"guidance, {name} step: ratio {ratio}, correlation {correlation}", markup=False)
    image = report.image
    console.print(
        f"picture: hole {show.decibels(image.hole_db)}, ring of {image.ring_pixels} pixels "
        f"{show.decibels(image.ring_db)}, outside {'untouched' if image.outside_identical else 'CHANGED'}",
        markup=False,
    )
    rerun = report.reference
    values = ", ".join(f"{name} {show.decibels(graph.db)}" for name, graph in rerun.graphs.items())
    console.print(f"reference, run now: {values if rerun.done else 'no: ' + rerun.note}\n", markup=False)
    for failure in report.failures:
        console.print(f"FAILED  {failure}", markup=False, style="red")
    console.print("ok: the bundle is what its reference says" if report.ok else "the bundle is NOT ok")


def _proven(proof: "Proof") -> str:
    from moebius_edge.runtimes import runtimes  # noqa: PLC0415

    passed = [unit for unit in proof.units if unit.ok]
    steps = [f"{unit.unit} ({unit.graphs['denoiser'].p50_ms:.1f} ms a step)" for unit in passed]
    row = runtimes().get(proof.runtime)  # a proof may be of a runtime that is not installed here
    by = f"{proof.runtime}, {row.stands_in}" if row and row.stands_in else proof.runtime
    return f"{proof.machine['processor']} by {by}: {', '.join(steps) or 'nothing passed'}"


def _kit(bundle: "Bundle") -> dict[str, str]:
    """Say what to do with a build kit; nothing of another bundle."""
    from moebius_edge.export.targets.registry import targets  # noqa: PLC0415

    row = targets().get(bundle.manifest.target)
    if row is None or row.kit_file not in bundle.manifest.files:
        return {}
    return {"this is": f"a build kit: run its {row.kit_file} on the box, then moebius-edge import-engine"}


def _print_bundle(bundle: "Bundle") -> None:
    from rich.table import Table  # noqa: PLC0415

    from moebius_edge.bundle.manifest import GRAPH_NAMES  # noqa: PLC0415

    manifest, console = bundle.manifest, show.out()
    model, defaults = manifest.model, manifest.defaults
    facts = {
        "model": f"{model.name}, {model.parameters:,} parameters, {model.license}",
        "weights": f"{model.source}; SHA-256 {model.weights_sha256[:16]}...",
        "works at": f"{manifest.resolution}x{manifest.resolution} pixels (photos of any size)",
        "target": f"{manifest.target}, opened by {manifest.runtime}; {manifest.precision}, "
        f"{manifest.graph} graphs",
        "defaults": f"{defaults.steps} steps, guidance {defaults.guidance:g}, strength "
        f"{defaults.strength:g}: {len(manifest.scheduler.coefficients)} steps are run",
        **(
            {"settings": ", ".join(f"{k}={v}" for k, v in manifest.settings.items())}
            if manifest.settings
            else {}
        ),
        **_kit(bundle),
        **({"proven on": "; ".join(map(_proven, manifest.proofs))} if manifest.proofs else {}),
        "made by": ", ".join(f"{name} {version}" for name, version in manifest.tools.items()),
    }
    for name, fact in facts.items():
        console.print(f"{name:9} {fact}", markup=False)
    console.print()
    graphs = Table("graph", "GMAC", "inputs", "outputs", box=None, pad_edge=False)
    for name in GRAPH_NAMES:
        graph = manifest.graphs[name]
        sides = [
            "\n".join(f"{tensor.name} {tensor.dtype} {list(tensor.shape)}" for tensor in side)
            for side in (graph.inputs, graph.outputs)
        ]
        graphs.add_row(name, "-" if graph.macs is None else f"{graph.macs / 1e9:,.2f}", *sides)
    console.print(graphs, "", markup=False)
    for name, entry in manifest.files.items():
        console.print(f"{show.size(entry.size):>9}  {entry.sha256[:16]}  {name}", markup=False)
    console.print(f"{show.size(manifest.total_bytes):>9}  in all; every file has its SHA-256", markup=False)
