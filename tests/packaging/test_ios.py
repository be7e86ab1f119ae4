"""The iOS template: its Swift tests, and a whole edit in Swift that equals Python's.

Swift is no package of ours: without `swift` on PATH, or MOEBIUS_SWIFT with what to put before it (a chroot),
the tests that need it are skipped. What needs Core ML or SwiftUI is parsed, not compiled: that takes a Mac.
"""

import os
import re
import shlex
import shutil
import subprocess
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest

from moebius_edge.bundle.folder import Bundle
from moebius_edge.common.tensors import Array, write_tensors
from moebius_edge.devices import report
from moebius_edge.devices.app import APP, RESULT, TAG
from moebius_edge.inpaint.runtime import Runtime
from moebius_edge.inpainter import Inpainter
from moebius_edge.packaging.package import APP_FORMAT, app_json
from moebius_edge.packaging.platforms import PLATFORMS, SELF_TEST_DB
from moebius_edge.packaging.vectors import dumps
from moebius_edge.runtimes import open_runtime

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "moebius_edge" / "packaging" / "ios"
SOURCES = sorted(path for path in TEMPLATE.rglob("*.swift") if ".build" not in path.parts)
PREFIX = shlex.split(os.environ.get("MOEBIUS_SWIFT", ""))
HAS_SWIFT = bool(PREFIX) or shutil.which("swift") is not None
needs_swift = pytest.mark.skipif(
    not HAS_SWIFT, reason="no `swift` on PATH and no MOEBIUS_SWIFT: the Swift sources are not compiled here"
)


def swift(*words: str, environment: Mapping[str, str] | None = None) -> str:
    """What a Swift command prints; fails the test when it fails."""
    done = subprocess.run(
        [*PREFIX, *words],
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=1200,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:]
    return done.stdout


def test_the_template_is_whole_and_readable() -> None:
    names = {path.relative_to(TEMPLATE).as_posix() for path in SOURCES}
    assert {"Package.swift", "Sources/MoebiusInpaint/MoebiusModel.swift"} <= names
    for path in SOURCES:
        lines = path.read_text().splitlines()
        assert len(lines) <= 300, f"{path.name} has {len(lines)} lines"
        if "Tests" not in path.parts:
            assert max(map(len, lines)) <= 120, f"{path.name} has a line of {max(map(len, lines))} characters"


def test_only_plain_swift_is_in_the_core() -> None:
    imports = {
        match
        for path in SOURCES
        if "MoebiusCore" in path.parts
        for match in re.findall(r"^\s*import (\w+)", path.read_text(), re.MULTILINE)
    }
    assert imports == {"Foundation", "CryptoKit"}
    hashes = (TEMPLATE / "Sources/MoebiusCore/Hashes.swift").read_text()
    assert "#if canImport(CryptoKit)\nimport CryptoKit" in hashes
    for path in (TEMPLATE / "Sources/MoebiusInpaint").glob("*.swift"):
        assert path.read_text().startswith("#if canImport("), f"{path.name} would not compile on Linux"


def test_the_project_names_what_is_there() -> None:
    package = (TEMPLATE / "Package.swift").read_text()
    resources = Path(PLATFORMS["ios"].app).relative_to("Sources/MoebiusInpaint")
    for name in (resources, resources.parent / "model"):
        assert f'.copy("{name}")' in package
    for target in re.findall(r'[tT]arget\(\s*name: "([\w-]+)"', package):
        folder = "Tests" if target.endswith("Tests") else "Sources"
        assert list((TEMPLATE / folder / target).glob("*.swift")), f"{target} has no sources"
    project = (TEMPLATE / "Example" / "project.yml").read_text()
    products = re.findall(r"product: (\w+)", project)
    assert products and all(f'.library(name: "{product}"' in package for product in products)
    assert "- path: Sources" in project and list((TEMPLATE / "Example" / "Sources").glob("*.swift"))
    assert "UIFileSharingEnabled: true" in project  # else profile.json could not be fetched


def test_names_are_those_that_the_profiler_drives() -> None:
    project = (TEMPLATE / "Example" / "project.yml").read_text()
    assert f"PRODUCT_BUNDLE_IDENTIFIER: {APP}\n" in project
    editor = (TEMPLATE / "Example" / "Sources" / "Editor.swift").read_text()
    assert f'print("{TAG}: ' in editor and f'appendingPathComponent("{RESULT}")' in editor
    assert 'saying: "done"' in editor and editor.count('saying: "failed: ') == 2


def keys_of(name: str) -> dict[str, set[str]]:
    """Of each struct in a file of the core, one below another: the keys of its JSON."""
    text, found = (TEMPLATE / "Sources" / "MoebiusCore" / name).read_text(), {}
    for indent in ("    ", ""):
        struct = re.compile(rf"^{indent}public struct (\w+).*?^{indent}}}$", re.DOTALL | re.MULTILINE)
        for match in struct.finditer(text):
            cases = re.findall(r"^ +case (\w.*)$", match[0].split("func of(")[0], re.MULTILINE)
            words = [word.split(" = ") for case in cases for word in case.split(", ")]
            fields = re.findall(r"^ +public let (\w+):", match[0], re.MULTILINE)
            found[match[1]] = {word[-1].strip('"') for word in words} or set(fields)
        text = struct.sub("", text)
    return found


def test_the_json_has_the_fields_that_the_profiler_reads() -> None:
    """Compared as text, so that a difference is found where no Swift is, too."""
    kinds = {
        "Device": report.Device,
        "Engine": report.Engine,
        "Files": report.Subject,
        "Load": report.LoadTimes,
        "Edit": report.Edit,
        "Temperature": report.Temperature,
        "ProfileReport": report.DeviceProfile,
        "SelfTestReport": report.SelfTest,
    }
    written = {**keys_of("ProfileReport.swift"), **keys_of("SelfTest.swift")}
    assert written == {name: {field.name for field in fields(kind)} for name, kind in kinds.items()}
    core = "".join(path.read_text() for path in SOURCES if "MoebiusCore" in path.parts)
    assert set(re.findall(r'static let format = "([\w-]+)"', core)) == {report.FORMAT, APP_FORMAT}
    assert keys_of("App.swift")["Thresholds"] == set(SELF_TEST_DB)


@pytest.mark.full
@needs_swift
def test_sources_for_apples_systems_parse(tmp_path: Path) -> None:
    for path in SOURCES:
        copy = tmp_path / path.name
        # What is checked is the text that a Mac compiles.
        copy.write_text(re.sub(r"^#if canImport\(.*$", "#if true", path.read_text(), flags=re.MULTILINE))
        swift("swiftc", "-frontend", "-parse", str(copy))


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package with its vectors, compiled; about a minute."""
    folder = tmp_path_factory.mktemp("ios") / "MoebiusInpaint"
    shutil.copytree(TEMPLATE, folder, ignore=shutil.ignore_patterns(".build"))
    (folder / PLATFORMS["ios"].vectors).write_text(dumps())
    app = folder / PLATFORMS["ios"].app
    app.parent.mkdir(parents=True)
    app.write_text("{}")  # resources must be there; on Linux nothing opens them
    (app.parent / "model").mkdir()
    (app.parent / "model" / "manifest.json").write_text("{}")
    swift("swift", "build", "-c", "release", "--build-tests", "--package-path", str(folder))
    return folder


@pytest.mark.full
@needs_swift
def test_swift_passes_the_vectors_and_its_fault_tests(package: Path) -> None:
    told = swift("swift", "test", "-c", "release", "--skip-build", "--package-path", str(package))
    counts = re.findall(r"Executed (\d+) tests?, with(?: \d+ tests? skipped and)? 0 failures", told)
    assert counts and max(map(int, counts)) >= 40, told[-3000:]
    assert "VectorTests.testEdits' passed" in told


@dataclass
class GraphServer:
    """Runs graphs for another process, over two named pipes; EndToEndTests.swift says in what form."""

    runtime: Runtime
    folder: Path
    runs: int = 0
    thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        for name in ("requests", "answers"):
            os.mkfifo(self.folder / name)
        # A daemon: it waits for ever where the other process never comes.
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        paths = self.folder / "requests", self.folder / "answers"
        with paths[0].open("rb") as requests, paths[1].open("wb") as answers:
            while line := requests.readline():
                graph, count = line.decode().split()
                inputs = dict(_read(requests) for _ in range(int(count)))
                outputs = self.runtime.run(graph, inputs)
                self.runs += 1
                answers.write(f"{graph} {len(outputs)}\n".encode())
                for name, value in outputs.items():
                    answers.write(f"{name} {' '.join(map(str, value.shape))}\n".encode())
                    answers.write(np.ascontiguousarray(value, "<f4").tobytes())
                answers.flush()


def _read(file: BinaryIO) -> tuple[str, Array]:
    name, *sizes = file.readline().decode().split()
    shape = tuple(map(int, sizes))
    data = file.read(4 * int(np.prod(shape)))
    return name, np.frombuffer(data, "<f4").reshape(shape)


def stage_edit(bundle: Bundle, folder: Path) -> GraphServer:
    """A package without sources, an edit that Python has done, and a server for the graphs."""
    shutil.copytree(bundle.folder, folder / "model")
    # Its graphs are for ONNX Runtime, so that they run here: no bundle for iOS, whose app.json is no other.
    (folder / "app.json").write_bytes(app_json(bundle, PLATFORMS["android"]))
    rows, columns, channels = np.indices((288, 320, 3))
    photo = ((rows * 2 + columns * (channels + 1)) % 256).astype(np.uint8)
    alpha = np.full((288, 320), 255, np.uint8)
    alpha[:, 80:100] = 0  # the mask reaches into it
    mask = np.zeros((288, 320), np.uint8)
    mask[30:90, 20:90] = 255
    mask[60:100, 40:60] = 255
    mask[220:240, 280:300] = 255  # far from the others: a hole of its own
    runtime = open_runtime(bundle, threads=1)
    result = Inpainter.of(bundle.manifest, runtime)(
        np.dstack([photo, alpha]), mask, steps=4, seed=7, dilate=3, margin=0.5
    )
    tensors = {"photo": photo, "alpha": alpha, "mask": mask, "result": np.asarray(result)[..., :3]}
    write_tensors(folder / "edit.safetensors", tensors)
    return GraphServer(runtime, folder)


@pytest.mark.full
@needs_swift
def test_an_edit_in_swift_is_pythons(package: Path, small: Bundle, tmp_path: Path) -> None:
    """At most one grey level apart in at most 100 bytes: logarithm and cosine may differ in the last bit."""
    server = stage_edit(small, tmp_path)
    command = ("swift", "test", "-c", "release", "--skip-build", "--filter", "EndToEndTests")
    told = swift(*command, "--package-path", str(package), environment={"MOEBIUS_EDIT": str(tmp_path)})
    assert "testAnEditEqualsPythons' passed" in told, told[-3000:]
    # Both holes have a second pass: the rows of timesteps 250 and 0, and one encode more. Then the self-test.
    assert server.runs == 2 * ((1 + 3 + 1) + (2 + 2 + 1)) + (1 + 4 + 1) + (1 + 4 + 1)
    print(told)
