"""The script that makes the table of docs/coreml.md."""

from pathlib import Path

import pytest

from moebius_edge.bundle import Bundle
from moebius_edge.checkpoints import Checkpoint
from moebius_edge.export.build import export_bundle
from moebius_edge.export.coreml.table import Parity, Row, main, measure, packaged, table
from moebius_edge.export.options import ExportOptions
from tests.exports import QUICK


def test_rows_as_markdown() -> None:
    rows = [
        Row("fp32", 903.54, 61.26, 20.4, 123.04, 200.0, 74.0, {"denoiser": Parity(1.2e-6, 3e-7)}),
        Row("w8", 227.4, 30.0, 8.0, None, None, None, {}),
    ]
    lines = table(rows).splitlines()
    assert lines[2] == "| fp32 | 123.0 | the same bytes (74.0 in ONNX Runtime) | 903.5 MB | 61 s | 20 s |"
    assert lines[3] == "| w8 | - | - | 227.4 MB | 30 s | 8 s |"
    assert lines[5] == "fp32 against ONNX Runtime: denoiser 1.2e-06 (3.0e-07)"


def test_graphs_are_made_once_and_packages_are_those_of_an_export(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = list(measure(checkpoint, ("fp32",), tmp_path / "a", QUICK, replay=False, parity=True))
    assert [row.precision for row in made] == ["fp32"] and made[0].denoiser_mb > 0.5
    assert made[0].parity.keys() == {"encoder", "denoiser", "decoder"}
    differences = [(each.engine, each.exact_norms) for each in made[0].parity.values()]
    # A tiny model with weights by rule magnifies errors.
    assert 0 < min(map(min, differences)) <= max(map(max, differences)) < 5e-5
    graphs = Bundle.open(tmp_path / "a" / "fp32")
    options = ExportOptions(target="coreml")
    again = packaged(checkpoint, graphs, options, tmp_path / "b")
    whole = export_bundle(checkpoint, tmp_path / "c", options)
    assert again.manifest == whole.manifest


def test_an_unknown_precision(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["nano", "int4"])
    assert "there is no precision 'int4'; choose from fp16" in capsys.readouterr().err
