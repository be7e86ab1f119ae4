"""Make the table of docs/coreml.md: what each precision costs through the interpreter, and how large it is.

    TABLE="python -m moebius_edge.export.targets.coreml.table"
    $TABLE nano                                                        # every precision: dB, picture, size
    $TABLE synthetic fp32 fp16 w8 p6 p4 --parity --no-verify --quick
    $TABLE nano int8 --no-verify --photos PHOTOS                       # whole edits

It needs no Mac. `--parity` compares the packages of FP32 graphs with ONNX Runtime on the same graphs,
optimizations off: the largest difference relative to the largest value, on the self-test's inputs. The number
in brackets is against the ONNX graph with its normalizations in float64: ONNX Runtime's own are less exact.

`--photos` edits every photo of a folder. Precisions with ONNX graphs of their own (fp32, fp16, int8, mixed)
also run as those in ONNX Runtime, which computes float16 in float32. It runs without its optimizations,
because with them INT8 differs from itself there.
"""

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

from moebius_edge.bundle.folder import Bundle, seal, staging
from moebius_edge.bundle.manifest import GRAPH_NAMES
from moebius_edge.calibration.activations.data import CalibrationOptions
from moebius_edge.calibration.evaluation.evaluate import cases
from moebius_edge.calibration.evaluation.whole_edits import EditsCost, WholeEdits
from moebius_edge.checking import capsule
from moebius_edge.checking.first_run import graph_inputs
from moebius_edge.checking.verify import verify
from moebius_edge.checkpoints.checkpoint import Checkpoint
from moebius_edge.checkpoints.load import load_checkpoint
from moebius_edge.common.explain import explained
from moebius_edge.common.progress import Stage, stages
from moebius_edge.common.scripts import script_parser
from moebius_edge.common.tensors import Array
from moebius_edge.export.build import export_bundle
from moebius_edge.export.onnx.graph_specs import resolution_of
from moebius_edge.export.options import ExportOptions
from moebius_edge.export.targets.coreml.exact_norms import with_exact_norms
from moebius_edge.export.targets.coreml.package import ship
from moebius_edge.export.targets.registry import find_target
from moebius_edge.inpaint.runtime import Runtime
from moebius_edge.inpainter import Inpainter
from moebius_edge.runtimes import open_runtime
from moebius_edge.runtimes.external_data import graph_files
from moebius_edge.runtimes.onnxruntime import OnnxRuntime, OrtOptions, session_options

TARGET = "coreml"
LEAST = CalibrationOptions(edits=4, steps_per_edit=4, steps=5)
UNOPTIMIZED = OrtOptions(optimization="none")
EDITING = "editing the photos"


@dataclass(frozen=True)
class Parity:
    """The largest difference of a package from ONNX Runtime on the same graph.

    It is relative to the largest value.
    """

    engine: float
    exact_norms: float  # with the graph's normalizations in float64


@dataclass(frozen=True)
class Row:
    """What one precision costs."""

    precision: str
    denoiser_mb: float  # its package, in 10^6 bytes
    graphs_s: float  # making the ONNX graphs, calibration and self-test included
    packages_s: float  # making the three packages of them
    denoiser_db: float | None = None  # worst step, on the reference's inputs; None: not replayed
    hole_db: float | None = None  # the finished picture, inside the hole
    engine_hole_db: float | None = None  # the same graphs in ONNX Runtime, optimizations off
    edits: EditsCost | None = None  # of the package; None: no photos given
    engine_edits: EditsCost | None = None  # the same graphs in ONNX Runtime, optimizations off
    parity: Mapping[str, Parity] = field(default_factory=dict)  # of each graph; empty: not asked for


@dataclass(frozen=True)
class TableOptions:
    """What is measured besides sizes and times."""

    calibration: CalibrationOptions = field(default_factory=CalibrationOptions)
    replay: bool = True  # the self-test
    parity: bool = False  # of FP32, with ONNX Runtime
    photos: Path | None = None  # a folder of photos to edit
    masks: int = 1  # edits of each of them, every one with another hole


class _Graphs:
    """The ONNX graphs that packages are made of, by their precision: each made once, in `folder`."""

    def __init__(self, checkpoint: Checkpoint, folder: Path, calibration: CalibrationOptions) -> None:
        self.checkpoint, self.folder, self.calibration = checkpoint, folder, calibration
        self._made: dict[str, tuple[Bundle, float]] = {}

    def of(self, precision: str, say: Stage) -> tuple[Bundle, float]:
        """Return the bundle for ONNX Runtime, and the seconds that it took to make."""
        if precision not in self._made:
            start = time.perf_counter()
            options = ExportOptions(target=TARGET, precision=precision, calibration=self.calibration)
            folder = self.folder / precision
            bundle = export_bundle(self.checkpoint, folder, options, artifacts=False, progress=say)
            self._made[precision] = bundle, time.perf_counter() - start
        return self._made[precision]


def measure_rows(
    checkpoint: Checkpoint, precisions: Sequence[str], folder: Path, options: TableOptions
) -> Iterator[Row]:
    """Yield a row for each precision, made in `folder`.

    Raises CalibrationError for photos that cannot be used, InvalidInput for a wrong number of masks, and what
    `export_bundle` and runtimes raise.
    """
    graphs, edits = _Graphs(checkpoint, folder, options.calibration), None
    if options.photos is not None:
        # Photos come first: one that cannot be used is found before the graphs take minutes.
        edited = list(cases(options.photos, resolution_of(checkpoint), options.masks, seed=0))
        with stages(f"{checkpoint.name} in fp32") as say:
            fp32, _ = graphs.of("fp32", say)
            edits = WholeEdits(_inpainter(fp32, open_runtime(fp32)), edited, partial(say, EDITING))
    for precision in precisions:
        with stages(f"{checkpoint.name} in {precision}") as say:
            chosen = ExportOptions(target=TARGET, precision=precision, calibration=options.calibration)
            same, graphs_s = graphs.of(chosen.graph_precision, say)
            start = time.perf_counter()
            say("writing the packages", 0, 1)
            bundle = packaged(checkpoint, same, chosen, folder / f"{precision}.packages")
            packages_s = time.perf_counter() - start
            size = sum(bundle.manifest.files[file].size for file in graph_files(bundle, "denoiser"))
            row = Row(precision, size / 1e6, round(graphs_s, 1), round(packages_s, 1))
            own = chosen.graph_precision == precision
            engine = OnnxRuntime(same, options=UNOPTIMIZED) if own else None
            if options.replay:
                row = _replayed(row, bundle, engine, say)
            if edits is not None:
                row = _edited(row, bundle, engine, partial(edits.cost, tick=partial(say, EDITING)))
            if options.parity and precision == "fp32":
                row = replace(row, parity={name: _parity(bundle, same, name) for name in GRAPH_NAMES})
        shutil.rmtree(bundle.folder)
        yield row


def _replayed(row: Row, bundle: Bundle, engine: OnnxRuntime | None, say: Stage) -> Row:
    say("replaying the self-test", 0, 1)
    report = verify(bundle, open_runtime(bundle, "mil"))
    return replace(
        row,
        denoiser_db=report.graphs["denoiser"].db,
        hole_db=report.image.hole_db,
        engine_hole_db=verify(engine.bundle, engine).image.hole_db if engine else None,
    )


def _edited(
    row: Row, bundle: Bundle, engine: OnnxRuntime | None, cost: Callable[[Inpainter], EditsCost]
) -> Row:
    return replace(
        row,
        edits=cost(_inpainter(bundle, open_runtime(bundle, "mil"))),
        engine_edits=cost(_inpainter(engine.bundle, engine)) if engine else None,
    )


def _inpainter(bundle: Bundle, runtime: Runtime) -> Inpainter:
    return Inpainter.of(bundle.manifest, runtime, low_memory=False)


def packaged(checkpoint: Checkpoint, graphs: Bundle, options: ExportOptions, output: Path) -> Bundle:
    """Write the bundle that `export` makes of these ONNX graphs, and open it."""
    manifest = graphs.manifest
    with staging(output) as folder:
        for name in manifest.files:
            shutil.copyfile(graphs.file(name), folder / name)
        specs = ship(folder, dict(manifest.graphs), options, checkpoint)
        settings = options.all_settings()
        made = replace(manifest, graphs=specs, runtime=TARGET, precision=options.precision, settings=settings)
        seal(folder, made)
    return Bundle.open(output)


def _parity(bundle: Bundle, same: Bundle, graph: str) -> Parity:
    manifest = bundle.manifest
    inputs = graph_inputs(capsule.checked(bundle.capsule(), manifest.resolution, manifest.latent_size))[graph]
    found = open_runtime(bundle, "mil").run(graph, inputs)

    def difference(expected: dict[str, Array]) -> float:
        return max(
            float(np.abs(found[k] - value).max() / np.abs(value).max()) for k, value in expected.items()
        )

    engine = OnnxRuntime(same, options=UNOPTIMIZED).run(graph, inputs)
    exact = with_exact_norms(onnx.load(same.file(same.manifest.graphs[graph].file)))
    session = ort.InferenceSession(
        exact.SerializeToString(), session_options(UNOPTIMIZED, None), providers=["CPUExecutionProvider"]
    )
    outputs = dict(zip(engine, session.run(list(engine), inputs), strict=True))
    return Parity(difference(engine), difference(outputs))


def table(rows: list[Row]) -> str:
    """Format the rows as Markdown."""
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
    lines += [
        f"\n{row.precision} in whole edits, dB in the hole, mean (worst): {_edits(row.edits)}; "
        f"its graphs in ONNX Runtime: {_edits(row.engine_edits)}"
        for row in rows
        if row.edits
    ]
    return "\n".join(lines)


def _db(value: float | None) -> str:
    return "-" if value is None else "the same bytes" if value >= 200 else f"{value:.1f}"


def _edits(cost: EditsCost | None) -> str:
    return "-" if cost is None else f"{_db(cost.mean_db)} ({_db(cost.worst_db)})"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    known = find_target(TARGET).precisions
    parser = script_parser("moebius_edge.export.targets.coreml.table", __doc__)
    parser.add_argument("checkpoint", help="as for `moebius-edge export`")
    parser.add_argument("precisions", nargs="*", default=known, metavar="precision", help=", ".join(known))
    parser.add_argument("--no-verify", action="store_true", help="do not replay the self-test")
    parser.add_argument("--quick", action="store_true", help="the least calibration: enough for sizes")
    parser.add_argument("--parity", action="store_true", help="compare fp32 with ONNX Runtime")
    parser.add_argument("--photos", type=Path, help="folder of photos, not calibrated on, to edit as well")
    parser.add_argument("--masks", type=int, default=1, help="edits of each photo, each with another hole")
    parser.add_argument("--json", action="store_true", help="instead of Markdown")
    given = parser.parse_args(arguments)
    if unknown := [name for name in given.precisions if name not in known]:
        parser.error(f"there is no precision {unknown[0]!r}; choose from {', '.join(known)}")
    rows: list[Row] = []
    options = TableOptions(
        calibration=LEAST if given.quick else CalibrationOptions(),
        replay=not given.no_verify,
        parity=given.parity,
        photos=given.photos,
        masks=given.masks,
    )
    with explained(), tempfile.TemporaryDirectory() as folder:
        checkpoint = load_checkpoint(given.checkpoint)
        try:
            for row in measure_rows(checkpoint, given.precisions, Path(folder), options):
                rows.append(row)
                print(table(rows[-1:]), file=sys.stderr)
        finally:  # precisions before one that failed took minutes
            if rows:
                print(json.dumps([asdict(row) for row in rows], indent=1) if given.json else table(rows))


if __name__ == "__main__":
    main()
