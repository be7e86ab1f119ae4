"""The script that makes the table of docs/coreml.md."""

from pathlib import Path

import numpy as np
import pytest

from moebius_edge.bundle import Bundle
from moebius_edge.calibration.evaluate import cases, edit
from moebius_edge.checkpoints import Checkpoint
from moebius_edge.export.build import export_bundle
from moebius_edge.export.coreml import table as table_module
from moebius_edge.export.coreml.table import Parity, Row, TableOptions, main, measure, packaged, table
from moebius_edge.export.coreml.whole_edits import EditsCost, WholeEdits
from moebius_edge.export.options import ExportOptions
from moebius_edge.inpainter import Inpainter
from moebius_edge.report import DB_CAP
from moebius_edge.runtimes import open_runtime
from moebius_edge.tensors import Array
from tests.exports import QUICK


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
    assert lines[8] == "w8 in whole edits: 45.2 (40.1); mean (worst), dB in the hole"
    assert lines[10] == (
        "int8 in whole edits: 43.4 (40.4), 42.9 (39.4) in ONNX Runtime; mean (worst), dB in the hole"
    )


def test_graphs_are_made_once_and_packages_are_those_of_an_export(
    checkpoint: Checkpoint, tmp_path: Path, photos: Path
) -> None:
    (photos / "1.png").unlink()
    chosen = TableOptions(calibration=QUICK, replay=False, parity=True, photos=photos)
    made = list(measure(checkpoint, ("fp32",), tmp_path / "a", chosen))
    assert [row.precision for row in made] == ["fp32"] and made[0].denoiser_mb > 0.5
    assert made[0].parity.keys() == {"encoder", "denoiser", "decoder"}
    differences = [(each.engine, each.exact_norms) for each in made[0].parity.values()]
    # A tiny model with weights by rule magnifies errors.
    assert 0 < min(map(min, differences)) <= max(map(max, differences)) < 5e-5
    assert made[0].edits is not None and made[0].engine_edits is not None
    assert min(made[0].edits.worst_db, made[0].engine_edits.worst_db) > 55  # one grey level here and there
    graphs = Bundle.open(tmp_path / "a" / "fp32")
    options = ExportOptions(target="coreml")
    again = packaged(checkpoint, graphs, options, tmp_path / "b")
    whole = export_bundle(checkpoint, tmp_path / "c", options)
    assert again.manifest == whole.manifest


def test_an_unknown_precision(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["nano", "int4"])
    assert "there is no precision 'int4'; choose from fp16" in capsys.readouterr().err


class Brighter:
    """A runtime whose decoder is a tenth of its range too bright."""

    name = "brighter"

    def __init__(self, bundle: Bundle) -> None:
        self._exact = open_runtime(bundle)

    def run(self, graph: str, inputs: dict[str, Array]) -> dict[str, Array]:
        outputs = self._exact.run(graph, inputs)
        return {name: value + 0.2 for name, value in outputs.items()} if graph == "decoder" else outputs

    def release(self, graph: str) -> None:
        self._exact.release(graph)


@pytest.fixture
def fp32(checkpoint: Checkpoint, tmp_path: Path) -> Bundle:
    return export_bundle(checkpoint, tmp_path / "fp32", ExportOptions(target="coreml"), artifacts=False)


def test_the_cost_of_whole_edits_is_that_of_their_holes(fp32: Bundle, photos: Path) -> None:
    pairs = list(cases(photos, fp32.manifest.resolution, 2, 0))
    ticks = list[tuple[int, int]]()

    def tick(done: int, total: int) -> None:
        ticks.append((done, total))

    edits = WholeEdits(fp32, pairs, tick)
    assert ticks == [(0, 4), (1, 4), (2, 4), (3, 4)]
    assert edits.cost(fp32, open_runtime(fp32), tick) == EditsCost(DB_CAP, DB_CAP)
    exact, brighter = Inpainter.load(fp32.folder), Inpainter.of(fp32.manifest, Brighter(fp32))
    by_hand = []
    for case in pairs:
        error = (edit(exact, case).astype(float) - edit(brighter, case))[case[1]]
        by_hand.append(20 * np.log10(255 / np.sqrt(np.mean(error**2))))
    found = edits.cost(fp32, Brighter(fp32), tick)
    assert (found.mean_db, found.worst_db) == pytest.approx((np.mean(by_hand), min(by_hand)))
    assert found.worst_db < found.mean_db < 30


@pytest.mark.parametrize(("given", "message"), [("0", "masks is 0; expected 1 to"), ("1", "holds no photo")])
def test_photos_are_looked_at_before_graphs_are_made(
    given: str,
    message: str,
    photos: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("graphs were made")

    monkeypatch.setattr(table_module, "export_bundle", never)
    folder = photos.parent / "empty" if given == "1" else photos
    folder.mkdir(exist_ok=True)
    with pytest.raises(SystemExit, match="2"):
        main(["nano", "int8", "--photos", str(folder), "--masks", given])
    assert message in capsys.readouterr().err
