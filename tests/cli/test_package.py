"""`package`: what is written, what is refused; `serve`."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from moebius_edge.bundle import Bundle, seal
from moebius_edge.packaging import package
from moebius_edge.packaging.platforms import PLATFORMS, Limit


@pytest.fixture
def license_text(tmp_path: Path) -> Path:
    path = tmp_path / "licence.txt"
    path.write_text("Do what you like.\n")
    return path


def relabelled(exported: Path, folder: Path, **changes: Any) -> Path:
    """The bundle under another target or licence."""
    for file in exported.iterdir():
        if file.name != "manifest.json":
            (folder / file.name).parent.mkdir(parents=True, exist_ok=True)
            (folder / file.name).write_bytes(file.read_bytes())
    manifest = Bundle.open(exported).manifest
    seal(folder, replace(manifest, files={}, **changes))
    return folder


@pytest.mark.parametrize("platform", ["web", "android"])
def test_a_project_is_written(
    moebius: Any, exported: Path, tmp_path: Path, license_text: Path, platform: str
) -> None:
    output = tmp_path / "app"
    answer = moebius("package", exported, "--platform", platform, "-o", output, "--license", license_text)
    assert answer.code == 0, answer.err
    assert f"wrote {output}" in answer.out and PLATFORMS[platform].next[0] in answer.out
    app = output / PLATFORMS[platform].app
    found, bundle = json.loads(app.read_text()), Bundle.open(app.parent / "model")
    assert bundle.manifest == Bundle.open(exported).manifest
    assert found["format"] == "moebius-edge-app-1" and found["thresholds"]["denoiser_db"] == 90
    fetched = [name for name in bundle.manifest.files if ".onnx" in name or "capsule" in name]
    sizes = sum((bundle.folder / name).stat().st_size for name in [*fetched, "manifest.json"])
    assert found["download_bytes"] == sizes
    assert "Apache License" in (output / "LICENSE").read_text()
    assert "CC0-1.0" in (output / "LICENSE-model").read_text()
    assert "Do what you like." in (output / "LICENSE-model").read_text()
    vectors = json.loads((output / PLATFORMS[platform].vectors).read_text())
    assert vectors["format"] == "moebius-edge-vectors-1"
    again = moebius("package", exported, "--platform", platform, "-o", output, "--license", license_text)
    assert again.code == 2 and "already exists" in again.err
    once_more = ("--overwrite", "--license", license_text)
    assert moebius("package", exported, "--platform", platform, "-o", output, *once_more).code == 0


def test_the_same_bundle_gives_the_same_project(
    moebius: Any, exported: Path, tmp_path: Path, license_text: Path
) -> None:
    made = []
    for name in ("a", "b"):
        output = tmp_path / name
        moebius("package", exported, "--platform", "web", "-o", output, "--license", license_text)
        files = sorted(path for path in output.rglob("*") if path.is_file())
        made.append([(path.relative_to(output), path.read_bytes()) for path in files])
    assert made[0] == made[1] and len(made[0]) > 10


def test_a_dry_run_lists_and_writes_nothing(moebius: Any, exported: Path, tmp_path: Path) -> None:
    output = tmp_path / "app"
    answer = moebius("package", exported, "--platform", "web", "--output", output, "--dry-run", "--json")
    assert answer.code == 0, answer.err
    found = answer.json()
    assert found["graphs_bytes"] == sum(found["graphs"].values()) and set(found["graphs"]) == {
        "encoder",
        "denoiser",
        "decoder",
    }
    assert found["graphs_bytes"] < found["download_bytes"] <= found["bundle_bytes"] + 10_000
    assert found["peak_memory_mb"] > 20 and found["refusals"] == []
    assert not output.exists()
    text = moebius("package", exported, "--platform", "web", "--dry-run").out
    assert "all three" in text and "download" in text and "memory" in text


def test_without_an_output_it_says_so(moebius: Any, exported: Path) -> None:
    answer = moebius("package", exported, "--platform", "web")
    assert answer.code == 2 and "--output" in answer.err and "--dry-run" in answer.err


def test_what_an_app_should_not_ship(
    moebius: Any,
    exported: Path,
    tmp_path: Path,
    license_text: Path,
    spoiled: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output = tmp_path / "app"

    def refused(bundle: Path, *more: object, platform: str = "web") -> str:
        answer = moebius("package", bundle, "--platform", platform, "-o", output, *more)
        assert answer.code == 2 and not output.exists() and answer.out == "", answer
        assert answer.err.startswith("error: ") and "Traceback" not in answer.err
        return str(answer.err)

    assert "'CC0-1.0', and an app must carry its text; give it with --license" in refused(exported)
    license_text.write_text(" \n")
    assert "is empty" in refused(exported, "--license", license_text)
    assert "cannot read" in refused(exported, "--license", tmp_path / "none.txt")
    license_text.write_text("Fine.")
    assert "platforms are web, ios, android" in refused(exported, platform="toaster")
    assert "export with --target coreml" in refused(exported, "--license", license_text, platform="ios")

    def change(model: onnx.ModelProto) -> None:
        weight = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
        array = numpy_helper.to_array(weight)
        weight.CopyFrom(numpy_helper.from_array(np.asarray(array * 1.1, array.dtype), weight.name))

    words = refused(spoiled("denoiser", change), "--license", license_text)
    assert "fails its self-test and is not packaged" in words and "denoiser" in words
    small = replace(PLATFORMS["web"], limits=(Limit("a file", 0.05, "a test", True),))
    monkeypatch.setitem(PLATFORMS, "web", small)
    words = refused(exported, "--license", license_text)
    assert "is too large for web" in words and "more than 0.1: a test" in words
    dry = moebius("package", exported, "--platform", "web", "--dry-run")
    assert dry.code == 1 and "REFUSED" in dry.out


def test_a_full_disk_leaves_nothing(
    moebius: Any, exported: Path, tmp_path: Path, license_text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(package.shutil, "copytree", full)
    output = tmp_path / "out" / "app"
    answer = moebius("package", exported, "--platform", "web", "-o", output, "--license", license_text)
    assert answer.code == 2 and "No space left" in answer.err and not output.parent.exists()


def test_serving_what_is_no_page(moebius: Any, tmp_path: Path) -> None:
    answer = moebius("serve", tmp_path)
    assert answer.code == 2 and "has no index.html" in answer.err
    (tmp_path / "package.json").write_text("{}")
    answer = moebius("serve", tmp_path)
    assert answer.code == 2 and "npm ci && npm run build" in answer.err


def test_ctrl_c_ends_serving(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<!doctype html><title>x</title>")
    command = [sys.executable, "-m", "moebius_edge", "serve", str(tmp_path), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline().startswith("http://127.0.0.1:")
        process.send_signal(2)
        assert process.wait(20) == 0 and process.stderr.read() == ""
