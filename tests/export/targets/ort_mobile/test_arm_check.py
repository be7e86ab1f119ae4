"""The ARM check, with a script that calls this machine's own Python in the place of the emulator."""

import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from moebius_edge.bundle.folder import Bundle
from moebius_edge.checkpoints.checkpoint import Checkpoint
from moebius_edge.common.errors import RuntimeUnavailable
from moebius_edge.export.build import export_bundle
from moebius_edge.export.options import ExportOptions
from moebius_edge.export.targets.ort_mobile import arm_check
from moebius_edge.export.targets.ort_mobile.arm_check import Emulator, check, main
from moebius_edge.precisions import PRECISIONS

PACKAGES = Path(onnxruntime.__file__).parents[1]
IMAGE = {"latents": np.zeros((1, 4, 4, 4), np.float32)}


@pytest.fixture(scope="module")
def bundle(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("arm") / "tiny.moebius"
    return export_bundle(checkpoint, folder, ExportOptions(target="ort-mobile"))


def script(path: Path, body: str) -> Path:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def options(tmp_path: Path) -> list[str]:
    """`--emulator ... --root ... --packages ...` that run here."""
    python = tmp_path / "usr/bin/python3.11"
    python.parent.mkdir(parents=True)
    script(python, f'exec {sys.executable} "$@"')
    emulator = script(tmp_path / "emulator", '[ "$1" = -L ] && shift 2 && exec "$@"')
    return ["--emulator", str(emulator), "--root", str(tmp_path), "--packages", str(PACKAGES)]


def test_every_output_is_compared(
    bundle: Bundle, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(bundle.folder), *options]) == 0
    out, err = capsys.readouterr()
    assert [line.split(":")[0] for line in out.splitlines()] == [
        "encoder.mean",
        "encoder.std",
        "denoiser.noise",
        "decoder.image",
    ]
    assert all("(90 needed)" in line and "FAILED" not in line for line in out.splitlines())
    assert "encoder: ran on" in err


def test_a_number_below_its_bar_is_1(
    bundle: Bundle, options: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = arm_check.WORKER.replace("zip(names, outputs)", "zip(names, [o + 1 for o in outputs])")
    monkeypatch.setattr(arm_check, "WORKER", wrong)
    assert main([str(bundle.folder), "--graph", "decoder", *options]) == 1
    assert "FAILED" in capsys.readouterr().out
    assert PRECISIONS["fp32"].thresholds.decoder_db == 90


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("kill -SEGV $$", r"ended by signal 11; QEMU before 10 crashes"),
        ("echo 'no module numpy' >&2; exit 1", "decoder.ort failed under .*emulator: no module numpy"),
        ("exit 0", "it said nothing"),
        ("sleep 30", r"took more than 0.5 s; allow more with --timeout"),
    ],
)
def test_what_goes_wrong_is_a_sentence(bundle: Bundle, tmp_path: Path, body: str, words: str) -> None:
    emulator = Emulator((str(script(tmp_path / "emulator", body)),), PACKAGES, 0.5 if "sleep" in body else 60)
    with pytest.raises(RuntimeUnavailable, match=words):
        emulator.run(bundle.file("decoder.ort"), IMAGE)


def test_a_missing_emulator_names_the_documentation(
    bundle: Bundle, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main([str(bundle.folder), *options, "--emulator", "/nowhere/qemu-aarch64"])
    assert stop.value.code == 2
    assert capsys.readouterr().err == (
        "error: cannot run /nowhere/qemu-aarch64: No such file or directory; "
        "docs/mobile.md says how to get it\n"
    )


def test_the_comparison_is_with_the_reference_too(bundle: Bundle, options: list[str]) -> None:
    _, emulator, _, root, _, packages = options
    command = (emulator, "-L", root, f"{root}/usr/bin/python3.11")
    (row,) = check(bundle, Emulator(command, Path(packages), 60), ["decoder"])
    assert row.here.db == 200  # the same kernels
    assert 90 < row.reference.db < 200
