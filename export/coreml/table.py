"""The table of docs/coreml.md: what each precision costs through the interpreter, and how large it is.

    python -m moebius_edge.export.coreml.table nano            # every precision: dB, picture, size
    python -m moebius_edge.export.coreml.table synthetic fp32 fp16 w8 p6 p4 --parity --no-verify --quick

Needs no Mac. `--parity` compares the packages of FP32 graphs with ONNX Runtime on the same graphs,
optimizations off: the largest difference relative to the largest value, on the self-test's inputs. In
brackets with the normalizations of the ONNX graph in float64: ONNX Runtime's own are less exact.
"""

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

from moebius_edge import capsule
from moebius_edge.bundle import Bundle, seal, staging
from moebius_edge.calibration.data import CalibrationOptions
from moebius_edge.checkpoints import Checkpoint, load_checkpoint
from moebius_edge.explain import explained
from moebius_edge.export.build import export_bundle
from moebius_edge.export.coreml.exact_norms import with_exact_norms
from moebius_edge.export.coreml.package import ship
from moebius_edge.export.options import ExportOptions
from moebius_edge.export.targets import TARGETS
from moebius_edge.fresh import graph_inputs
from moebius_edge.manifest import GRAPH_NAMES
from moebius_edge.parity import verify
from moebius_edge.progress import stages
from moebius_edge.runtimes import open_runtime
from moebius_edge.runtimes.external_data import graph_files
from moebius_edge.scripts import script_parser
from moebius_edge.tensors import Array

TARGET = "coreml"
LEAST = CalibrationOptions(edits=4, steps_per_edit=4, steps=5)


@dataclass(frozen=True)
class Row:
    """One precision."""

    precision: str
    denoiser_mb: float  # its package, in 10^6 bytes
    graphs_s: float  # making the ONNX graphs, calibration and self-test included
    packages_s: float  # making the three packages of them
    denoiser_db: float | None  # worst step, on the reference's inputs; None: not replayed
    hole_db: float | None  # the finished picture, inside the hole
    engine_hole_db: float | None  # the same graphs in ONNX Runtime, optimizations off
    parity: dict[str, "Parity"]  # of each graph; empty: not asked for


@dataclass(frozen=True)
class Parity:
    """Largest difference of a package from ONNX Runtime on the same graph, relative to the largest value."""

    engine: float
    exact_norms: float  # with the graph's normalizations in float64


def measure(
    checkpoint: Checkpoint,
    precisions: Sequence[str],
    folder: Path,
    calibration: CalibrationOptions,
    *,
    replay: bool,
    parity: bool,
) -> Iterator[Row]:
    """A row for each precision; ONNX graphs that several are made of are made once, in `folder`."""
    graphs: dict[str, tuple[Bundle, float]] = {}
    for precision in precisions:
        options = ExportOptions(target=TARGET, precision=precision, calibration=calibration)
        kind = options.graph_precision
        with stages(f"{checkpoint.name} in {precision}") as say:
            if kind not in graphs:
                start = time.perf_counter()
                source = replace(options, precision=kind)
                made = export_bundle(checkpoint, folder / kind, source, artifacts=False, progress=say)
                graphs[kind] = made, time.perf_counter() - start
            same, graphs_s = graphs[kind]
            start = time.perf_counter()
            say("writing the packages", 0, 1)
            bundle = packaged(checkpoint, same, options, folder / f"{precision}.packages")
            packages_s = time.perf_counter() - start
            say("replaying the self-test", 0, 1)
            report = verify(bundle, open_runtime(bundle, "mil")) if replay else None
            beside = replay and precision in ("fp32", "int8")
            engine = verify(same, Plain(same)).image.hole_db if beside else None
            differ = parity and precision == "fp32"
            differences = {name: _parity(bundle, same, name) for name in GRAPH_NAMES} if differ else {}
        size = sum(bundle.manifest.files[file].size for file in graph_files(bundle, "denoiser"))
        shutil.rmtree(bundle.folder)
        yield Row(
            precision,
            size / 1e6,
            round(graphs_s, 1),
            round(packages_s, 1),
            None if report is None else report.graphs["denoiser"].db,
            None if report is None else report.image.hole_db,
            engine,
            differences,
        )


def packaged(checkpoint: Checkpoint, graphs: Bundle, options: ExportOptions, output: Path) -> Bundle:
    """The bundle that `export` makes of these ONNX graphs."""
    manifest = graphs.manifest
    with staging(output) as folder:
        for name in manifest.files:
            shutil.copyfile(graphs.file(name), folder / name)
        specs = ship(folder, dict(manifest.graphs), options, checkpoint)
        settings = options.all_settings()
        made = replace(manifest, graphs=specs, runtime=TARGET, precision=options.precision, settings=settings)
        seal(folder, made)
    return Bundle.open(output)


class Plain:
    """ONNX Runtime with its optimizations off: with them its INT8 differs from itself."""

    name = "onnxruntime"

    def __init__(self, bundle: Bundle, *, exact_norms: bool = False) -> None:
        self.bundle, self.exact_norms = bundle, exact_norms
        self._sessions: dict[str, ort.InferenceSession] = {}

    def run(self, graph: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Evaluate one graph."""
        if graph not in self._sessions:
            options = ort.SessionOptions()
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
            file = self.bundle.file(f"{graph}.onnx")
            model = with_exact_norms(onnx.load(file)).SerializeToString() if self.exact_norms else str(file)
            self._sessions[graph] = ort.InferenceSession(model, options)
        session = self._sessions[graph]
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(None, dict(inputs)), strict=True))

    def release(self, graph: str) -> None:
        """Free the graph's session."""
        self._sessions.pop(graph, None)


def _parity(bundle: Bundle, same: Bundle, graph: str) -> Parity:
    manifest = bundle.manifest
    inputs = graph_inputs(capsule.checked(bundle.capsule(), manifest.resolution, manifest.latent_size))[graph]
    found = open_runtime(bundle, "mil").run(graph, inputs)

    def difference(exact_norms: bool) -> float:
        expected = Plain(same, exact_norms=exact_norms).run(graph, inputs)
        return max(
            float(np.abs(found[k] - value).max() / np.abs(value).max()) for k, value in expected.items()
        )

    return Parity(difference(False), difference(True))


def table(rows: list[Row]) -> str:
    """As Markdown."""
    lines = [
        "| | denoiser, worst step | picture, in the hole | denoiser's package | graphs | packages |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        hole = _db(row.hole_db)
        if row.engine_hole_db is not None:
            hole += f" ({_db(row.engine_hole_db)} in ONNX Runtime)"
        size = f"{row.denoiser_mb:.1f} MB"
        times = (f"{row.graphs_s:.0f} s", f"{row.packages_s:.0f} s")
        lines.append(f"| {' | '.join((row.precision, _db(row.denoiser_db), hole, size, *times))} |")
    lines += [
        f"\n{row.precision} against ONNX Runtime: "
        + ", ".join(f"{name} {each.engine:.1e} ({each.exact_norms:.1e})" for name, each in row.parity.items())
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
    parser.add_argument("--quick", action="store_true", help="the least calibration: enough for sizes")
    parser.add_argument("--parity", action="store_true", help="compare fp32 with ONNX Runtime")
    parser.add_argument("--json", action="store_true", help="instead of Markdown")
    given = parser.parse_args(arguments)
    if unknown := [name for name in given.precisions if name not in known]:
        parser.error(f"there is no precision {unknown[0]!r}; choose from {', '.join(known)}")
    rows: list[Row] = []
    calibration = LEAST if given.quick else CalibrationOptions()
    with explained(), tempfile.TemporaryDirectory() as folder:
        checkpoint = load_checkpoint(given.checkpoint)
        how = {"replay": not given.no_verify, "parity": given.parity}
        for row in measure(checkpoint, given.precisions, Path(folder), calibration, **how):
            rows.append(row)
            print(table(rows[-1:]), file=sys.stderr)
    print(json.dumps([asdict(row) for row in rows], indent=1) if given.json else table(rows))


if __name__ == "__main__":
    main()
