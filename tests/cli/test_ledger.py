"""`ledger`, and what `export` says of a precision."""

import inspect
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from moebius_edge.calibration.activations.data import CalibrationOptions, packaged_photos
from moebius_edge.calibration.activations.observers import Histogram
from moebius_edge.calibration.activations.recording import Recording
from moebius_edge.calibration.int8.sensitivity import Entry, Ledger
from moebius_edge.checkpoints.checkpoint import Checkpoint
from moebius_edge.cli import bundles, calibrate, ledger
from moebius_edge.common.errors import RuntimeUnavailable
from moebius_edge.export import build, payoff
from moebius_edge.export.options import ExportOptions

MADE = Ledger(
    weights_sha256="a" * 64,
    observer="mse",
    style="onnxruntime",
    samples=4,
    together=2.2e-4,
    entries=(Entry("up.0.conv", "Conv", True, 900, 1e-4), Entry("down.0.project", "Gemm", False, 100, 1e-4)),
)


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[ExportOptions, Recording | None]]:
    """What the command asks for; measuring takes minutes, and tests/export does it."""
    seen = []

    def measure_sensitivity(
        _checkpoint: Checkpoint, options: ExportOptions, recording: Recording | None, say: Any
    ) -> Ledger:
        say("measuring", 0, 1)
        seen.append((options, recording))
        return MADE

    monkeypatch.setattr(build, "measure_ledger", measure_sensitivity)
    return seen


def test_the_ledger_is_a_table_a_file_and_a_picture(moebius: Any, checkpoint: Path, tmp_path: Path) -> None:
    file, picture = tmp_path / "a.json", tmp_path / "a.png"
    answer = moebius("ledger", checkpoint, "--output", file, "--plot", picture)
    assert answer.code == 0
    assert [line.split()[0] for line in answer.out.splitlines()[1:3]] == ["up.0.conv", "down.0.project"]
    assert "40.0" in answer.out
    assert "all in INT8: 36.6 dB, their noises added: 37.0 dB" in answer.out
    assert f"--precision mixed --target-db 50 --ledger {file}" in answer.out
    assert Ledger.load(file) == MADE
    with Image.open(picture) as drawn:
        assert drawn.size[0] > 1000
    again = moebius("ledger", checkpoint, "--output", file)
    assert again.code == 2
    assert "add --overwrite" in again.err


def test_json_is_the_ledger_and_nothing_else(moebius: Any, checkpoint: Path, tmp_path: Path) -> None:
    answer = moebius("ledger", checkpoint, "--output", tmp_path / "a.json", "--json")
    assert answer.json()["entries"][0]["layer"] == "up.0.conv"
    assert answer.json()["samples"] == 4


def test_the_next_command_is_for_what_was_measured(
    moebius: Any,
    checkpoint: Path,
    tmp_path: Path,
    asked: list[tuple[ExportOptions, Recording | None]],
) -> None:
    histogram = Histogram()
    histogram.add(np.ones(3, np.float32))
    recording = Recording({"weights_sha256": "a" * 64}, {"a.in": histogram})
    file, calibration, photos = tmp_path / "a b.json", tmp_path / "a.calibration", packaged_photos()
    recording.save(calibration)
    given = ["--observer", "minmax", "--calibration", calibration, "--calibration-images", photos]
    answer = moebius("ledger", checkpoint, "--output", file, *given)
    assert answer.code == 0
    expected = (
        f"--ledger '{file}' --observer minmax --calibration {calibration} --calibration-images {photos} "
        f"--output {checkpoint.stem}-mixed.moebius"  # not over the FP32 bundle
    )
    assert expected in answer.out
    ((options, used),) = asked
    assert (options.observer, options.images) == ("minmax", photos)
    assert used is not None and used.recipe == recording.recipe


@pytest.mark.parametrize("command", ["ledger", "calibrate"])
def test_a_file_that_cannot_be_written_is_found_first(
    moebius: Any, checkpoint: Path, tmp_path: Path, command: str, asked: list[object]
) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for output, words in (
        ("folder", "is not a file"),
        ("pipe", "is not a file"),
        ("no/file", "does not exist"),
    ):
        answer = moebius(command, checkpoint, "--output", tmp_path / output, "--overwrite")
        assert answer.code == 2 and words in answer.err, output
    assert asked == []


def test_the_table_and_its_picture_are_two_files(
    moebius: Any, checkpoint: Path, tmp_path: Path, asked: list[object]
) -> None:
    answer = moebius("ledger", checkpoint, "--output", tmp_path / "a.png", "--plot", tmp_path / "a.png")
    assert answer.code == 2 and "the same file" in answer.err
    assert asked == []


def test_a_comparison_that_fails_is_a_warning_about_a_bundle_that_is_there(
    moebius: Any, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeUnavailable("no such engine")

    monkeypatch.setattr(payoff, "measure_payoff", fail)
    answer = moebius("export", checkpoint, "--precision", "w8", "--output", tmp_path / "w8.moebius")
    assert answer.code == 0
    assert answer.out.startswith(f"wrote {tmp_path / 'w8.moebius'}")
    assert "WARNING  it could not be compared with fp32: no such engine" in answer.out


def test_a_picture_that_cannot_be_drawn_is_refused_first(
    moebius: Any, checkpoint: Path, tmp_path: Path
) -> None:
    answer = moebius("ledger", checkpoint, "--output", tmp_path / "a.json", "--plot", tmp_path / "a.txt")
    assert answer.code == 2
    assert "is no PNG" in answer.err
    assert list(tmp_path.iterdir()) == []


def test_export_says_what_a_precision_gains_and_costs(moebius: Any, checkpoint: Path, tmp_path: Path) -> None:
    output = tmp_path / "w4.moebius"
    answer = moebius("export", checkpoint, "--precision", "w4", "--output", output)
    assert answer.code == 0
    assert "times as fast" in answer.out
    report = json.loads((output / "precision.json").read_text())["graphs"]["denoiser"]
    assert f"denoiser: {len(report['quantized'])} weights in 4 bits, {len(report['kept'])} kept" in answer.out
    # Weights by a rule in 4 bits are another model: that is a warning, and `verify` would fail.
    assert "WARNING  w4 came out worse than it should" in answer.out
    quiet = moebius(
        "export", checkpoint, "--precision", "w4", "--output", output, "--overwrite", "--no-compare"
    )
    assert quiet.code == 0
    assert "times as fast" not in quiet.out


def test_the_defaults_of_commands_are_those_of_the_library() -> None:
    """They are written twice, so that `--help` need not import the library."""
    usual, data = ExportOptions(), CalibrationOptions()
    expected = {"observer": usual.observer, "target_db": usual.target_db, "edits": data.edits}
    expected |= {"steps_per_edit": data.steps_per_edit, "seed": data.seed}
    seen = set()
    for command in (bundles.export, calibrate.calibrate, ledger.ledger):
        for name, parameter in inspect.signature(command).parameters.items():
            if name in expected:
                assert parameter.default == expected[name], (command.__name__, name)
                seen.add(name)
    assert seen == set(expected)


def test_what_calibrate_suggests_leaves_the_fp32_bundle_alone(
    moebius: Any, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    histogram = Histogram()
    histogram.add(np.ones(3, np.float32))
    recording = Recording({"weights_sha256": "a" * 64, "samples": 16}, {"a.in": histogram})
    monkeypatch.setattr(build, "record_ranges", lambda *_: recording)
    file = tmp_path / "a.calibration"
    answer = moebius("calibrate", checkpoint, "--output", file)
    assert answer.code == 0
    assert f"--calibration {file} --output {checkpoint.stem}-int8.moebius" in answer.out
