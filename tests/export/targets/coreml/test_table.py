"""The script that makes the table of docs/coreml.md."""

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from moebius_edge.bundle.folder import Bundle
from moebius_edge.calibration.evaluation.evaluate import cases, edit
from moebius_edge.calibration.evaluation.whole_edits import EditsCost, WholeEdits
from moebius_edge.checking.report import DB_CAP
from moebius_edge.checkpoints.checkpoint import Checkpoint
from moebius_edge.common.errors import NotFinite
from moebius_edge.common.progress import Tick
from moebius_edge.common.tensors import Array
from moebius_edge.export.build import export_bundle
from moebius_edge.export.options import ExportOptions
from moebius_edge.export.targets.coreml import table as table_module
from moebius_edge.export.targets.coreml.table import (
    Parity,
    Row,
    TableOptions,
    main,
    measure_rows,
    packaged,
    table,
)
from moebius_edge.inpainter import Inpainter
from moebius_edge.runtimes import open_runtime
from tests.kept import QUICK


def test_rows_as_markdown() -> None:
    rows = [
        Row("fp32", 903.54, 61.26, 20.4, 123.04, 200.0, 74.0, parity={"denoiser": Parity(1.2e-6, 3e-7)}),
        Row("w8", 227.4, 30.0, 8.0, edits=EditsCost(45.25, 40.1)),
        Row("int8", 227.8, 90.0, 9.0, edits=EditsCost(43.44, 40.4), engine_edits=EditsCost(42.9, 39.4)),
    ]
    lines = table(rows).splitlines()
    assert lines[2] == "| fp32 | 123.0 | the same bytes (74.0 in ONNX Runtime) | 903.5 MB | 61 s | 20 s |"
    assert lines[3] == "| w8 | - | - | 227.4 MB | 30 s | 8 s |"
    assert lines[6] == "fp32 against ONNX Runtime: denoiser 1.2e-06 (3.0e-07)"
    what = "in whole edits, dB in the hole, mean (worst)"
    assert lines[8] == f"w8 {what}: 45.2 (40.1); its graphs in ONNX Runtime: -"
    assert lines[10] == f"int8 {what}: 43.4 (40.4); its graphs in ONNX Runtime: 42.9 (39.4)"


def test_parity_of_fp32_and_its_packages_are_those_of_an_export(
    checkpoint: Checkpoint, coreml: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = TableOptions(calibration=QUICK, replay=False, parity=True)
    made = list(measure_rows(checkpoint, ("fp32",), tmp_path / "a", chosen))
    assert [row.precision for row in made] == ["fp32"] and made[0].denoiser_mb > 0.5
    assert made[0].parity.keys() == {"encoder", "denoiser", "decoder"}
    differences = [(each.engine, each.exact_norms) for each in made[0].parity.values()]
    # A tiny model with weights by rule magnifies errors.
    assert 0 < min(map(min, differences)) <= max(map(max, differences)) < 5e-5
    graphs = Bundle.open(tmp_path / "a" / "fp32")
    options = ExportOptions(target="coreml")
    again = packaged(checkpoint, graphs, options, tmp_path / "b")
    assert again.manifest == coreml.manifest
    monkeypatch.setattr(table_module, "with_exact_norms", doubled)
    only_exact = table_module._parity(again, graphs, "encoder")
    assert only_exact.engine == made[0].parity["encoder"].engine
    assert only_exact.exact_norms == pytest.approx(0.5, abs=0.01)


def test_an_unknown_precision(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["nano", "int4"])
    assert "there is no precision 'int4'; choose from fp16" in capsys.readouterr().err


def doubled(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph with its outputs twice as large."""
    names = {output.name for output in model.graph.output}
    for node in model.graph.node:
        node.output[:] = [f"{name}/once" if name in names else name for name in node.output]
    once = [helper.make_node("Add", [f"{name}/once"] * 2, [name]) for name in names]
    model.graph.node.extend(once)
    return model


class Darker:
    """A runtime whose decoder gives four fifths of the light."""

    name = "darker"

    def __init__(self, bundle: Bundle) -> None:
        self._exact = open_runtime(bundle)

    def run(self, graph: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        outputs = self._exact.run(graph, inputs)
        return {name: value * 0.8 for name, value in outputs.items()} if graph == "decoder" else outputs

    def release(self, graph: str) -> None:
        self._exact.release(graph)


@pytest.fixture
def fp32(checkpoint: Checkpoint, tmp_path: Path) -> Bundle:
    return export_bundle(checkpoint, tmp_path / "fp32", ExportOptions(target="coreml"), artifacts=False)


def test_which_numbers_are_of_which_runtime(
    checkpoint: Checkpoint, fp32: Bundle, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def level(runtime: Any) -> float:
        return 40.0 if runtime.name == "mil" else 50.0 if runtime.options.optimization == "none" else 0.0

    def replayed(bundle: Bundle, runtime: Any) -> SimpleNamespace:
        graphs = {"denoiser": SimpleNamespace(db=level(runtime) + 1)}
        return SimpleNamespace(graphs=graphs, image=SimpleNamespace(hole_db=level(runtime) + 2))

    def cost(edits: WholeEdits, inpainter: Inpainter, tick: Tick) -> EditsCost:
        return EditsCost(level(inpainter.runtime) + 3, level(inpainter.runtime))

    def copied(checkpoint: Checkpoint, graphs: Bundle, options: ExportOptions, output: Path) -> Bundle:
        return Bundle.open(shutil.copytree(fp32.folder, output))

    monkeypatch.setattr(table_module, "export_bundle", lambda *_, **__: fp32)
    monkeypatch.setattr(table_module, "packaged", copied)
    monkeypatch.setattr(table_module, "verify", replayed)
    monkeypatch.setattr(table_module, "open_runtime", lambda bundle, name="x": SimpleNamespace(name=name))
    monkeypatch.setattr(WholeEdits, "__init__", lambda *_: None)
    monkeypatch.setattr(WholeEdits, "cost", cost)
    int8, w8 = measure_rows(checkpoint, ("int8", "w8"), tmp_path, TableOptions(photos=photos))
    assert (int8.denoiser_db, int8.hole_db, int8.engine_hole_db) == (41, 42, 52)
    assert (int8.edits, int8.engine_edits) == (EditsCost(43, 40), EditsCost(53, 50))
    assert (w8.denoiser_db, w8.hole_db, w8.engine_hole_db) == (41, 42, None)
    assert (w8.edits, w8.engine_edits) == (EditsCost(43, 40), None)


def test_the_cost_of_whole_edits_is_that_of_their_holes(fp32: Bundle, photos: Path) -> None:
    edited = list(cases(photos, fp32.manifest.resolution, 2, 0))
    ticks = list[tuple[int, int]]()

    def tick(done: int, total: int) -> None:
        ticks.append((done, total))

    exact = Inpainter.load(fp32.folder, low_memory=False)
    darker = Inpainter.of(fp32.manifest, Darker(fp32), low_memory=False)
    edits = WholeEdits(exact, edited, tick)
    assert ticks == [(0, 4), (1, 4), (2, 4), (3, 4)]
    assert edits.cost(exact, tick) == EditsCost(DB_CAP, DB_CAP)
    by_hand = []
    for case in edited:
        error = (edit(exact, case).astype(float) - edit(darker, case))[case[1]]
        by_hand.append(20 * np.log10(255 / np.sqrt(np.mean(error**2))))
    found = edits.cost(darker, tick)
    assert (found.mean_db, found.worst_db) == pytest.approx((np.mean(by_hand), min(by_hand)))
    assert found.worst_db < found.mean_db < 30


@pytest.mark.parametrize(
    ("masks", "broken", "message"),
    [("0", False, "masks is 0; expected 1 to"), ("1", True, "broken.png")],
)
def test_photos_are_looked_at_before_graphs_are_made(
    masks: str,
    broken: bool,
    message: str,
    photos: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("graphs were made")

    monkeypatch.setattr(table_module, "export_bundle", never)
    if broken:
        (photos / "broken.png").write_bytes(b"no picture")
    with pytest.raises(SystemExit, match="2"):
        main(["nano", "int8", "--photos", str(photos), "--masks", masks])
    assert message in capsys.readouterr().err


def test_rows_before_a_failure_are_kept(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(*_: object) -> Iterator[Row]:
        yield Row("fp16", 452.2, 1.0, 2.0)
        raise NotFinite("it overflows")

    monkeypatch.setattr(table_module, "measure_rows", failing)
    with pytest.raises(SystemExit, match="2"):
        main(["nano", "fp16", "int8", "--json"])
    found = capsys.readouterr()
    assert "it overflows" in found.err
    assert [row["precision"] for row in json.loads(found.out)] == ["fp16"]
