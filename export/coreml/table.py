"""The table of docs/coreml.md: what each precision costs through the interpreter, and how large it is.

    python -m moebius_edge.export.coreml.table nano            # every precision: dB, picture, size
    python -m moebius_edge.export.coreml.table synthetic fp32 fp16 w8 --parity --no-verify

Needs no Mac. `--parity` compares the packages of FP32 graphs with ONNX Runtime on the same graphs,
optimizations off: the largest difference relative to the largest value, on the self-test's inputs.
"""

import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort

from moebius_edge import capsule
from moebius_edge.bundle import Bundle
from moebius_edge.checkpoints import Checkpoint, load_checkpoint
from moebius_edge.explain import explained
from moebius_edge.export.build import export_bundle
from moebius_edge.export.options import ExportOptions
from moebius_edge.export.targets import TARGETS
from moebius_edge.fresh import graph_inputs
from moebius_edge.manifest import GRAPH_NAMES
from moebius_edge.parity import verify
from moebius_edge.progress import stages
from moebius_edge.report import Report
from moebius_edge.runtimes import open_runtime
from moebius_edge.runtimes.external_data import graph_files
from moebius_edge.scripts import script_parser

TARGET = "coreml"


@dataclass(frozen=True)
class Row:
    """One precision."""

    precision: str
    denoiser_mb: float  # its package, in 10^6 bytes
    seconds: float  # of the whole export
    denoiser_db: float | None  # worst step, on the reference's inputs; None: not replayed
    hole_db: float | None  # the finished picture, inside the hole
    engine_hole_db: float | None  # the same graphs in ONNX Runtime, optimizations off
    parity: dict[str, float]  # graph -> largest relative difference from ONNX Runtime; empty: not asked for


def measure(checkpoint: Checkpoint, precision: str, folder: Path, *, replay: bool, parity: bool) -> Row:
    """Export into `folder`, replay the self-test, and compare INT8 and FP32 with ONNX Runtime."""
    options = ExportOptions(target=TARGET, precision=precision)
    with stages(f"{checkpoint.name} in {precision}") as say:
        start = time.perf_counter()
        bundle = export_bundle(checkpoint, folder / precision, options, progress=say)
        seconds = time.perf_counter() - start
        report = _replayed(bundle, "mil") if replay else None
        engine, differences = None, {}
        if (replay and precision == "int8") or (parity and precision == "fp32"):
            same = export_bundle(checkpoint, folder / "onnx", options, artifacts=False, progress=say)
            engine = _replayed(same, "onnxruntime").image.hole_db if replay else None
            differences = {name: _difference(bundle, same, name) for name in GRAPH_NAMES} if parity else {}
    return Row(
        precision,
        sum(bundle.manifest.files[file].size for file in graph_files(bundle, "denoiser")) / 1e6,
        round(seconds, 1),
        None if report is None else report.graphs["denoiser"].db,
        None if report is None else report.image.hole_db,
        engine,
        differences,
    )


def _replayed(bundle: Bundle, runtime: str) -> Report:
    return verify(bundle, open_runtime(bundle, runtime))


def _difference(bundle: Bundle, same: Bundle, graph: str) -> float:
    manifest = bundle.manifest
    inputs = graph_inputs(capsule.checked(bundle.capsule(), manifest.resolution, manifest.latent_size))[graph]
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(str(same.file(f"{graph}.onnx")), options)
    names = [output.name for output in session.get_outputs()]
    expected = dict(zip(names, session.run(None, dict(inputs)), strict=True))
    del session
    found = open_runtime(bundle, "mil").run(graph, inputs)
    return max(
        float(np.abs(found[name] - value).max() / np.abs(value).max()) for name, value in expected.items()
    )


def table(rows: list[Row]) -> str:
    """As Markdown."""
    lines = [
        "| | denoiser, worst step | picture, in the hole | denoiser's package | export |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        hole = _db(row.hole_db)
        if row.engine_hole_db is not None:
            hole += f" ({_db(row.engine_hole_db)} in ONNX Runtime)"
        size, seconds = f"{row.denoiser_mb:.1f} MB", f"{row.seconds:.0f} s"
        lines.append(f"| {' | '.join((row.precision, _db(row.denoiser_db), hole, size, seconds))} |")
    lines += [
        f"\n{row.precision} against ONNX Runtime: "
        + ", ".join(f"{name} {value:.1e}" for name, value in row.parity.items())
        for row in rows
        if row.parity
    ]
    return "\n".join(lines)


def _db(value: float | None) -> str:
    return "-" if value is None else "the same bytes" if value >= 200 else f"{value:.1f}"


def main(arguments: Sequence[str] | None = None) -> None:
    """The script."""
    known = TARGETS[TARGET].precisions
    parser = script_parser("moebius_edge.export.coreml.table", __doc__)
    parser.add_argument("checkpoint", help="as for `moebius-edge export`")
    parser.add_argument("precisions", nargs="*", default=known, metavar="precision", help=", ".join(known))
    parser.add_argument("--no-verify", action="store_true", help="sizes alone")
    parser.add_argument("--parity", action="store_true", help="compare fp32 with ONNX Runtime")
    parser.add_argument("--json", action="store_true", help="instead of Markdown")
    given = parser.parse_args(arguments)
    if unknown := [name for name in given.precisions if name not in known]:
        parser.error(f"there is no precision {unknown[0]!r}; choose from {', '.join(known)}")
    rows = []
    with explained():
        checkpoint = load_checkpoint(given.checkpoint)
        for precision in given.precisions:
            with tempfile.TemporaryDirectory() as name:
                folder, replay = Path(name), not given.no_verify
                rows.append(measure(checkpoint, precision, folder, replay=replay, parity=given.parity))
    print(json.dumps([asdict(row) for row in rows], indent=1) if given.json else table(rows))


if __name__ == "__main__":
    main()
