"""`package`: what is written, what is refused; `serve`."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from moebius_edge.bundle.folder import Bundle, seal
from moebius_edge.common.errors import ExportError
from moebius_edge.packaging import package
from moebius_edge.packaging.package import MODEL_FOLDER
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
    assert vectors["format"] == "moebius-edge-vectors-4"
    again = moebius("package", exported, "--platform", platform, "-o", output, "--license", license_text)
    assert again.code == 2 and "already exists" in again.err
    once_more = ("--overwrite", "--license", license_text)
    assert moebius("package", exported, "--platform", platform, "-o", output, *once_more).code == 0
    (output / "node_modules" / "x").mkdir(parents=True)
    assert moebius("package", exported, "--platform", platform, "-o", output, *once_more).code == 0


def test_somebodys_work_is_not_replaced(
    moebius: Any, exported: Path, tmp_path: Path, license_text: Path
) -> None:
    command = ("package", exported, "--platform", "web", "-o", tmp_path / "app", "--license", license_text)
    assert moebius(*command).code == 0
    listed = (tmp_path / "app" / "SHA256SUMS").read_text()
    assert "  src/main.ts\n" in listed and "  public/model/manifest.json\n" in listed

    def refused(named: str) -> None:
        before = {path: path.read_bytes() for path in (tmp_path / "app").rglob("*") if path.is_file()}
        answer = moebius(*command, "--overwrite")
        assert answer.code == 2 and "was changed since it was made" in answer.err and named in answer.err
        after = {path: path.read_bytes() for path in (tmp_path / "app").rglob("*") if path.is_file()}
        assert after == before

    (tmp_path / "app" / "notes.txt").write_text("mine")
    refused("(notes.txt)")
    (tmp_path / "app" / "notes.txt").unlink()
    source = tmp_path / "app" / "src" / "main.ts"
    original = source.read_bytes()
    source.write_bytes(original + b"// mine")
    refused("(src/main.ts)")
    source.unlink()
    refused("(src/main.ts)")
    source.symlink_to(license_text)
    refused("(src/main.ts)")
    source.unlink()
    source.write_bytes(original)
    assert moebius(*command, "--overwrite").code == 0
    (tmp_path / "app" / "SHA256SUMS").unlink()
    refused("and ")


def test_no_package_lies_in_another_bundle(moebius: Any, exported: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(exported, other)
    for command in (
        ("package", exported, "--platform", "web", "-o", other / "app"),
        ("export", "nano", "-o", other / "more" / "bundle"),
    ):
        answer = moebius(*command)
        assert answer.code == 2 and "would lie in the bundle other" in answer.err
    Bundle.open(other)


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
    assert found["peak_memory_mb"] > 20 and found["refusals"] == [] and found["output"] is None
    assert not output.exists()
    text = moebius("package", exported, "--platform", "web", "--dry-run").out
    assert "all three" in text and "download" in text and "memory" in text
    additions = PLATFORMS["web"].additions
    assert [each["what"] for each in found["additions"]] == [each.what for each in additions]
    assert all(f"besides {each.what}: {each.megabytes} MB" in text for each in additions)


def test_a_platform_in_any_case(moebius: Any, exported: Path) -> None:
    assert (
        moebius("package", exported, "--platform", "Web", "--dry-run", "--json").json()["platform"] == "web"
    )
    answer = moebius("package", exported, "--platform", "windows", "--dry-run")
    assert answer.code == 2 and "no platform 'windows'" in answer.err and "web, ios, android" in answer.err


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
    assert "not a plain file" in refused(exported, "--license", tmp_path)
    os.mkfifo(tmp_path / "pipe")
    assert "not a plain file" in refused(exported, "--license", tmp_path / "pipe")
    license_text.write_bytes(b"\xff\xfe\0binary")
    assert "is no text in UTF-8" in refused(exported, "--license", license_text)
    license_text.write_bytes(b"x" * (package.MAX_LICENSE_BYTES + 1))
    assert "more than 1,048,576 bytes" in refused(exported, "--license", license_text)
    license_text.write_text("Fine.")
    assert "platforms are web, ios, android" in refused(exported, platform="toaster")
    assert "export with --target coreml" in refused(exported, "--license", license_text, platform="ios")

    def change(model: onnx.ModelProto) -> None:
        weight = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
        array = numpy_helper.to_array(weight)
        weight.CopyFrom(numpy_helper.from_array(np.asarray(array * 1.1, array.dtype), weight.name))

    words = refused(spoiled("denoiser", change), "--license", license_text)
    assert "fails its self-test and is not packaged" in words and "denoiser" in words
    small = replace(PLATFORMS["web"], limits=(Limit("file", 0.05, "a test", True),))
    monkeypatch.setitem(PLATFORMS, "web", small)
    words = refused(exported, "--license", license_text)
    assert "is too large for web" in words and "more than 0.1: a test" in words
    dry = moebius("package", exported, "--platform", "web", "--dry-run")
    assert dry.code == 1 and "REFUSED" in dry.out


@pytest.mark.parametrize("at", [1, 40])  # a file of the template, one of the bundle
def test_a_full_disk_leaves_nothing(
    moebius: Any,
    exported: Path,
    tmp_path: Path,
    license_text: Path,
    monkeypatch: pytest.MonkeyPatch,
    at: int,
) -> None:
    copied = []

    def full(source: Path, target: Path) -> None:
        copied.append(target)
        if len(copied) == at or MODEL_FOLDER in target.parts:
            raise OSError(28, "No space left on device")
        target.write_bytes(source.read_bytes())

    monkeypatch.setattr(package.shutil, "copyfile", full)
    output = tmp_path / "out" / "app"
    answer = moebius("package", exported, "--platform", "web", "-o", output, "--license", license_text)
    assert answer.code == 2 and not output.parent.exists()
    assert answer.err == (
        f"error: cannot write {output}: No space left on device; nothing was written. "
        "Free some space or choose another disk\n"
    )


def test_a_package_in_its_bundle_is_refused(
    moebius: Any, exported: Path, tmp_path: Path, license_text: Path
) -> None:
    bundle = tmp_path / "b.moebius"
    shutil.copytree(exported, bundle)
    (tmp_path / "link").symlink_to(bundle)
    before = sorted(bundle.rglob("*"))
    more = ("--platform", "web", "--license", license_text, "--overwrite")
    for output in (bundle, bundle / "app", bundle / "a" / "b", tmp_path / "link" / "app"):
        answer = moebius("package", bundle, "-o", output, *more)
        words = "holds something else" if output == bundle else "would lie in the bundle"
        assert answer.code == 2 and words in answer.err
    assert sorted(bundle.rglob("*")) == before and Bundle.open(bundle)


def test_what_is_in_the_way_stays(moebius: Any, exported: Path, tmp_path: Path, license_text: Path) -> None:
    file, folder, link = tmp_path / "file", tmp_path / "mine", tmp_path / "link"
    file.write_text("mine")
    folder.mkdir()
    (folder / "diary.txt").write_text("mine")
    link.symlink_to(folder)
    more = ("--platform", "web", "--license", license_text, "--overwrite")
    for output in (file, folder, link):
        answer = moebius("package", exported, "-o", output, *more)
        assert answer.code == 2 and "is not replaced" in answer.err
    assert file.read_text() == (link / "diary.txt").read_text() == "mine"


@pytest.mark.parametrize("change", ["another", "edited", "gone"])
def test_a_bundle_that_changes_between_self_test_and_copy(
    exported: Path, tmp_path: Path, spoiled: Callable[..., Path], license_text: Path, change: str
) -> None:
    folder = tmp_path / "b.moebius"
    shutil.copytree(exported, folder)
    bundle = Bundle.open(folder)

    def verified(_: Bundle) -> Any:
        if change == "another":  # a valid bundle, but not the one that passed
            shutil.rmtree(folder)
            shutil.copytree(spoiled("denoiser", lambda model: model.graph.node.pop(0)), folder)
        elif change == "edited":
            (folder / "denoiser.onnx").write_bytes(b"x")
        else:
            (folder / "denoiser.onnx").unlink()
        return SimpleNamespace(ok=True)

    output = tmp_path / "app"
    with pytest.raises(ExportError, match=r"b\.moebius was changed while it was packaged"):
        package.write(bundle, PLATFORMS["web"], output, verified, license_file=license_text)
    assert not output.exists() and not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_names_that_a_shell_would_read_otherwise(
    moebius: Any, exported: Path, tmp_path: Path, license_text: Path
) -> None:
    bundle, output = tmp_path / "b.moebius", tmp_path / "my app; rm"
    shutil.copytree(exported, bundle)
    (bundle / ".DS_Store").write_text("left by a file manager")
    answer = moebius("package", bundle, "--platform", "web", "-o", output, "--license", license_text)
    assert answer.code == 0 and f"  cd '{output}'\n" in answer.out
    assert not list(output.rglob(".DS_Store"))


def test_serving_what_is_no_page(moebius: Any, tmp_path: Path) -> None:
    answer = moebius("serve", tmp_path)
    assert answer.code == 2 and "has no index.html" in answer.err
    (tmp_path / "package.json").write_text("{}")
    answer = moebius("serve", tmp_path)
    assert answer.code == 2 and "npm ci && npm run build" in answer.err


def test_the_page_is_opened_when_asked_for(
    moebius: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "index.html").write_text("<!doctype html><title>x</title>")
    opened: list[str] = []
    found = [True, False]  # a browser, then none
    monkeypatch.setattr("webbrowser.open", lambda url: opened.append(url) or found.pop(0))
    monkeypatch.setattr("socketserver.BaseServer.serve_forever", lambda self: None)
    answer = moebius("serve", tmp_path, "--port", 0, "--open")
    assert answer.code == 0 and answer.out.startswith(opened[0]) and "no browser" not in answer.out
    answer = moebius("serve", tmp_path, "--port", 0, "--open")
    assert answer.code == 0 and len(opened) == 2 and "open the address yourself" in answer.out


def test_ctrl_c_ends_serving(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<!doctype html><title>x</title>")
    command = [sys.executable, "-m", "moebius_edge", "serve", str(tmp_path), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline().startswith("http://127.0.0.1:")
        process.send_signal(2)
        assert process.wait(20) == 0 and process.stderr.read() == ""


def test_the_licence_file_says_where_both_parts_were_downloaded(exported: Path, license_text: Path) -> None:
    manifest = Bundle.open(exported).manifest
    origins = {"unet": f"a/b@{'1' * 40}", "vae": f"c/d@{'2' * 40}"}
    model = replace(manifest.model, license="MIT", source=f"a/b/x@{'1' * 40}", origins=origins)
    written = package._license_text(replace(manifest, model=model), license_text)
    head = f"Model: {model.name}\nWeights: {model.source}\nAutoencoder: {origins['vae']}\nLicence: MIT\n\n"
    assert written == f"{head}Do what you like.\n"
