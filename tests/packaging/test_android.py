"""The Android library, with a plain JDK: it compiles, its own tests pass, and its pictures are Python's.

Python's ONNX Runtime runs its graphs, through a pipe. What only Gradle or a phone can show is not tested.
"""

import json
import os
import re
import shutil
import struct
import subprocess
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO
from xml.etree import ElementTree

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import helper
from PIL import Image

from moebius_edge.bundle.folder import Bundle, seal, staging
from moebius_edge.bundle.manifest import GRAPH_NAMES, Defaults, GraphSpec, Manifest, TensorSpec, io_shapes
from moebius_edge.bundle.proofs import files_sha256
from moebius_edge.checking.capsule import record
from moebius_edge.checking.verify import verify
from moebius_edge.common.samples import capsule_photo, sample
from moebius_edge.common.tensors import Array, write_tensors
from moebius_edge.devices import report
from moebius_edge.devices.app import APP, RESULT, TAG
from moebius_edge.inpaint.morphology import Box
from moebius_edge.inpaint.runtime import Runtime, Wrapper
from moebius_edge.inpaint.solvers.ddim import DDIM
from moebius_edge.inpainter import Inpainter
from moebius_edge.packaging.package import app_json, find_platform
from moebius_edge.packaging.vector_values import boxed
from moebius_edge.runtimes import open_runtime
from tests.conftest import SMALL, SMALL_VAE, save_graph

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PROJECT = ROOT / "moebius_edge/packaging/android"
LIBRARY = PROJECT / "moebius/src"
VECTORS = ("VectorsTest", "PictureVectorsTest")
TESTS = (*VECTORS, "SchedulerTest", "SecondPassTest", "HolesTest", "FaultsTest", "JsonTest", "DeviceTest")
MAIN = sorted((LIBRARY / "main/java/io/moebius/edge").glob("*.java"))
EXAMPLE = PROJECT / "example/src/main"
KOTLIN = sorted([*PROJECT.rglob("*.kt"), *PROJECT.rglob("*.kts")])
JARS = [Path("/usr/share/java") / name for name in ("junit4.jar", "hamcrest.jar")]

NOTE = r"(?m)^Picked up .*\n"  # what Java says of JAVA_TOOL_OPTIONS

Bytes = NDArray[np.uint8]


def classpath(*parts: Path) -> str:
    return os.pathsep.join(map(str, parts))


@pytest.fixture(scope="session")
def java() -> str:
    """The java of a JDK, or a skip."""
    found = shutil.which("java")
    if found is None or shutil.which("javac") is None:
        pytest.skip("there is no JDK; on Debian: apt-get install default-jdk-headless")
    return found


@pytest.fixture(scope="session")
def junit() -> list[Path]:
    """JUnit 4, from Debian's package where it may be installed, or a skip."""
    if not all(jar.is_file() for jar in JARS) and os.geteuid() == 0 and shutil.which("apt-get"):
        command = ["apt-get", "install", "-y", "--no-install-recommends", "junit4"]
        subprocess.run(command, capture_output=True, timeout=120, check=False)
    if not all(jar.is_file() for jar in JARS):
        pytest.skip("there is no JUnit 4 in /usr/share/java; on Debian: apt-get install junit4")
    return JARS


def compile_java(output: Path, sources: list[Path], *needed: Path) -> Path:
    output.mkdir(exist_ok=True)
    command = [
        "javac",
        "-J-XX:TieredStopAtLevel=1",
        "--release",
        "11",
        "-Xlint:all",
        "-Werror",
        "-proc:none",
        "-d",
        str(output),
    ]
    done = subprocess.run(
        [*command, "-cp", classpath(*needed, output), *map(str, sources)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0 and not re.sub(NOTE, "", done.stderr), done.stderr
    return output


@pytest.fixture(scope="session")
def library(java: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library without its engine, as Java 11, without a warning."""
    return compile_java(tmp_path_factory.mktemp("library"), MAIN)


def run_junit(java: str, library: Path, tests: Path, vectors: Path, names: tuple[str, ...]) -> str:
    command = [
        java,
        "-XX:TieredStopAtLevel=1",
        f"-Dvectors={vectors}",
        "-cp",
        classpath(library, tests, *JARS),
        "org.junit.runner.JUnitCore",
    ]
    done = subprocess.run(
        [*command, *(f"io.moebius.edge.{name}" for name in names)],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout


@pytest.fixture(scope="session")
def unit_tests(library: Path, junit: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    sources = sorted((LIBRARY / "test/java/io/moebius/edge").glob("*.java"))
    assert {f"{name}.java" for name in TESTS} == {path.name for path in sources if path.stem.endswith("Test")}
    return compile_java(tmp_path_factory.mktemp("tests"), sources, library, *junit)


@pytest.mark.full
def test_the_librarys_own_tests(java: str, library: Path, unit_tests: Path) -> None:
    said = run_junit(java, library, unit_tests, ROOT / "docs/vectors.json", TESTS)
    written = sum(path.read_text().count("    @Test") for path in (LIBRARY / "test").rglob("*.java"))
    assert f"OK ({written} tests)" in said, said


# What fails when it is given these vectors in the place of the file's: the names of tests.
Failures = Callable[[Mapping[str, list[Any]]], set[str]]


@pytest.fixture
def failures(java: str, library: Path, unit_tests: Path, tmp_path: Path) -> Failures:
    vectors = json.loads((ROOT / "docs/vectors.json").read_text())

    def failing(parts: Mapping[str, list[Any]]) -> set[str]:
        path = tmp_path / "vectors.json"
        path.write_text(json.dumps({**vectors, **parts}))
        said = run_junit(java, library, unit_tests, path, VECTORS)
        assert "Time: " in said, said
        return set(re.findall(r"^\d+\) (\w+)\(", said, re.MULTILINE))

    return failing


def spoil(text: str) -> str:
    """Bytes in base64 that begin with others."""
    return "/////" + text[5:]


@pytest.mark.full
def test_every_part_of_the_vectors_is_compared(failures: Failures) -> None:
    changed = json.loads((ROOT / "docs/vectors.json").read_text())
    spoilt: dict[str, Callable[[dict[str, Any]], object]] = {
        "philox": lambda vector: vector["words"].__setitem__(0, 1),
        "draws": lambda vector: vector["latents"].__setitem__(3, 0.5),
        "schedules": lambda vector: vector["coefficients"][0].__setitem__("b", 0.5),
        "updates": lambda vector: vector["result"].__setitem__(-2, 0.5),
        "refines": lambda vector: vector["result"][0].__setitem__("a", 0.5),
        "encodes": lambda vector: vector["start"].__setitem__(2, 0.5),
        "starts": lambda vector: vector["result"].__setitem__(2, 0.5),
        "holes": lambda vector: vector["holes"].pop(),
        "crops": lambda vector: vector["crop"].__setitem__("side", 7),
        "grows": lambda vector: vector.__setitem__("radius", vector["radius"] + 1),
        "feathers": lambda vector: vector["opacity"].__setitem__(50, 0.25),
        "resizes": lambda vector: vector.__setitem__("result", spoil(vector["result"])),
        "corrections": lambda vector: vector["correction"].__setitem__(7, 0.5),
        "edits": lambda vector: vector.__setitem__("result", spoil(vector["result"])),
    }
    assert set(spoilt) == set(changed) - {"format"}
    for name, change in spoilt.items():
        change(changed[name][-1])
    assert failures(changed) == set(spoilt)
    assert failures({name: [] for name in spoilt}) == set(spoilt)


# A change of one vector that is not the last of its part, or the kind of which there must be one.
SPOILT: dict[str, tuple[Callable[[dict[str, Any]], Any], Callable[[dict[str, Any]], object]]] = {
    "crops": (lambda crop: crop["closer"], lambda crop: crop["closer"].update(side=1)),
    "edits": (
        lambda edit: edit["holes"][0]["again"],
        lambda edit: edit["holes"][0]["again"].update(picture=spoil(edit["holes"][0]["again"]["picture"])),
    ),
    "edits, transparent": (lambda edit: edit["alpha"], lambda edit: edit.update(alpha=None)),
    "edits, of several holes": (
        lambda edit: len(edit["holes"]) > 1,
        lambda edit: edit.update(once=spoil(edit["once"])),
    ),
}


@pytest.mark.full
@pytest.mark.parametrize("name", SPOILT)
def test_vectors_of_every_kind_are_compared_and_wanted(failures: Failures, name: str) -> None:
    part = name.split(",", maxsplit=1)[0]
    (kind, change), vectors = SPOILT[name], json.loads((ROOT / "docs/vectors.json").read_text())[part]
    assert failures({part: [each for each in vectors if not kind(each)]}) == {part}
    change(next(each for each in vectors if kind(each)))
    assert failures({part: vectors}) == {part}


@pytest.mark.full
def test_the_engine_binding_compiles(library: Path, tmp_path: Path) -> None:
    """Against signatures of ONNX Runtime's API: it is not run."""
    api = compile_java(tmp_path / "api", sorted((HERE / "android_api").rglob("*.java")))
    sources = sorted((LIBRARY / "main/java/io/moebius/edge/ort").glob("*.java"))
    made = compile_java(tmp_path / "binding", sources, library, api)
    assert (made / "io/moebius/edge/ort/OrtGraphRunner.class").is_file()


# An edit through the pipe.


@pytest.fixture(scope="session")
def compiled(library: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    sources = sorted((HERE / "android").glob("*.java"))
    return classpath(library, compile_java(tmp_path_factory.mktemp("pipe"), sources, library))


def write_graphs(folder: Path, manifest: Manifest, scale: float) -> None:
    """Three small graphs with all of the inputs in their outputs; `scale` 1, or a little beside it."""
    rng, node, graphs = np.random.default_rng(0), helper.make_node, manifest.graphs
    kernel = (rng.standard_normal((4, 3, 8, 8)) * 0.1 * scale).astype(np.float32)
    encoder = [
        node("Conv", ["image", "kernel"], ["mean"], strides=[8, 8]),
        node("Sigmoid", ["mean"], ["std"]),
    ]
    save_graph(folder / "encoder.onnx", graphs["encoder"], encoder, {"kernel": kernel})
    denoiser = [
        node("Mul", ["masked_latents", "mask"], ["context"]),
        node("Mul", ["context", "guidance"], ["guided"]),
        node("Mul", ["timestep", "small"], ["time"]),
        node("Add", ["guided", "latents"], ["sum"]),
        node("Sub", ["sum", "time"], ["shifted"]),
        node("Tanh", ["shifted"], ["noise"]),
    ]
    small = {"small": np.array([0.001 * scale], np.float32)}
    save_graph(folder / "denoiser.onnx", graphs["denoiser"], denoiser, small)
    decoder = [
        node("ConvTranspose", ["latents", "kernel"], ["flat"], strides=[8, 8]),
        node("Sigmoid", ["flat"], ["image"]),
    ]
    save_graph(folder / "decoder.onnx", graphs["decoder"], decoder, {"kernel": kernel * np.float32(5)})


def graph_spec(name: str) -> GraphSpec:
    inputs, outputs = (
        tuple(TensorSpec(key, "float32", shape) for key, shape in io_shapes(64, 8)[name][side].items())
        for side in ("inputs", "outputs")
    )
    return GraphSpec(f"{name}.onnx", inputs, outputs)


@pytest.fixture
def bundle(tmp_path: Path, tiny_manifest: Manifest) -> Bundle:
    """64 x 64 pixels, latents of 8 x 8. Its capsule is of graphs with slightly other weights."""
    defaults, ddim = Defaults(20, 2.0, 0.99, 0.0357), DDIM()
    manifest = replace(
        tiny_manifest,
        model=replace(tiny_manifest.model, config=SMALL, vae=SMALL_VAE),
        resolution=64,
        latent_size=8,
        graphs={name: graph_spec(name) for name in GRAPH_NAMES},
        scheduler=replace(
            tiny_manifest.scheduler, coefficients=ddim.coefficients(20, 0.99), start=ddim.start(20, 0.99)
        ),
        defaults=defaults,
    )
    for name, scale, capsule in (("reference", 1.000001, None), ("small", 1.0, "reference")):
        with staging(tmp_path / f"{name}.moebius") as folder:
            write_graphs(folder, manifest, scale)
            tensors = {"photo": np.zeros(1, np.uint8)}
            if capsule is not None:
                reference = open_runtime(Bundle.open(tmp_path / f"{capsule}.moebius"), threads=1)
                size = {"resolution": 64, "latent_size": 8}
                tensors = record(reference, *capsule_photo(64), **size, guidance=2.0)
            write_tensors(folder / manifest.capsule, tensors)
            seal(folder, manifest)
    return Bundle.open(tmp_path / "small.moebius")


@pytest.fixture
def runtime(bundle: Bundle) -> Runtime:
    return open_runtime(bundle, threads=1)


class Pipe:
    """The other end of PipeGraphRunner."""

    def __init__(self, source: BinaryIO, sink: BinaryIO, runtime: Runtime) -> None:
        self.source, self.sink, self.runtime = source, sink, runtime
        self.loaded: set[str] = set()
        self.most_loaded = 0

    def serve(self) -> None:
        """Until the other end is closed."""
        while word := self._word():
            graph = self._word()
            if word == "release":
                self.loaded.discard(graph)
                self.runtime.release(graph)
                continue
            self.loaded.add(graph)
            self.most_loaded = max(self.most_loaded, len(self.loaded))
            inputs = dict(self._tensor() for _ in range(self._number()))
            outputs = self.runtime.run(graph, inputs)
            self.sink.write(struct.pack(">i", len(outputs)))
            for name, value in outputs.items():
                text = name.encode()
                self.sink.write(struct.pack(">H", len(text)) + text)
                self.sink.write(struct.pack(f">{1 + value.ndim}i", value.ndim, *value.shape))
                self.sink.write(np.ascontiguousarray(value, ">f4").tobytes())
            self.sink.flush()

    def _word(self) -> str:
        length = self.source.read(2)
        return self.source.read(int.from_bytes(length)).decode() if length else ""

    def _number(self) -> int:
        return int.from_bytes(self.source.read(4))

    def _tensor(self) -> tuple[str, Array]:
        name = self._word()
        shape = [self._number() for _ in range(self._number())]
        data = np.frombuffer(self.source.read(4 * int(np.prod(shape))), ">f4")
        return name, data.astype(np.float32).reshape(shape)


class Counted(Wrapper):
    """Counts the runs of each graph."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.runs: Counter[str] = Counter()

    def run(self, graph: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        self.runs[graph] += 1
        return super().run(graph, inputs)


def run_pipe(java: str, compiled: str, runtime: Runtime, *arguments: object) -> tuple[int, str]:
    """EndToEnd with its graphs run here: its exit code, and what it said."""
    command = [java, "-XX:TieredStopAtLevel=1", "-cp", compiled, "EndToEnd", *map(str, arguments)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin and process.stdout and process.stderr
    with process:
        pipe = Pipe(process.stdout, process.stdin, runtime)  # type: ignore[arg-type]
        pipe.serve()
        said = process.stderr.read().decode()
    assert pipe.most_loaded <= 1, "two graphs are loaded at once"
    return process.returncode, re.sub(NOTE, "", said)


def photo_of(width: int, height: int) -> Bytes:
    with Image.open(sample("osprey")[0]) as image:
        return np.asarray(image.convert("RGB").resize((width, height)))


@dataclass(frozen=True)
class Case:
    """An edit."""

    size: tuple[int, int]
    boxes: tuple[Box, ...]
    seed: int = 0
    dilate: int = 0
    blend: str = "harmonic"
    together: bool = False
    clear: Box | None = None  # what of the photo is transparent
    passes: tuple[int, int] = (1, 0)  # how many first ones, and how many second ones


CASES = {
    "at its own resolution": Case((150, 110), ((60, 40, 80, 62),), passes=(1, 1)),
    "scaled down": Case((400, 300), ((60, 40, 220, 180),), seed=2**64 - 1, passes=(1, 1)),
    "smaller than the model": Case((40, 47), ((3, 30, 15, 47),), seed=7, dilate=1),
    "mirrored at both edges": Case((300, 40), ((0, 10, 200, 30),), seed=3, blend="feather"),
    "far apart": Case((500, 400), ((10, 8, 40, 30), (330, 240, 420, 330)), dilate=2, passes=(2, 2)),
    "far apart, together": Case((300, 60), ((5, 8, 20, 30), (270, 10, 290, 40)), together=True),
    "cut out": Case((150, 110), ((60, 40, 80, 62),), clear=(70, 0, 150, 80), passes=(1, 1)),
}


def alpha_of(case: Case) -> Bytes:
    """Alpha [H,W] of a case's photo, 0 in what is clear."""
    return np.where(boxed(case.size, () if case.clear is None else (case.clear,)), 0, 90).astype(np.uint8)


def edit(
    java: str,
    compiled: str,
    runtime: Runtime,
    bundle: Path,
    folder: Path,
    photo: Bytes,
    mask: Bytes,
    case: Case,
) -> tuple[int, str, Path]:
    alpha = alpha_of(case)[: 0 if case.clear is None else None]
    for name, array in (("photo", photo), ("alpha", alpha), ("mask", mask)):
        array.tofile(folder / name)
    height, width = photo.shape[:2]
    options = [case.seed, case.dilate, case.blend.upper(), str(case.together).lower()]
    paths = [folder / "photo", folder / "alpha", folder / "mask"]
    code, said = run_pipe(
        java, compiled, runtime, "edit", bundle, *paths, width, height, *options, folder / "result"
    )
    return code, said, folder / "result"


@pytest.mark.full
@pytest.mark.parametrize("name", CASES)
def test_an_edit_is_pythons(
    java: str, compiled: str, runtime: Runtime, bundle: Bundle, tmp_path: Path, name: str
) -> None:
    case = CASES[name]
    photo = photo_of(*case.size)
    mask = boxed(case.size, case.boxes).astype(np.uint8) * 255
    counted = Counted(runtime)
    code, said, path = edit(java, compiled, counted, bundle.folder, tmp_path, photo, mask, case)
    assert (code, said) == (0, "")
    # A second pass has the rows below half of the training steps, 450 to 0, and one encode more.
    first, second = case.passes
    assert counted.runs == {
        "encoder": first + 2 * second,
        "denoiser": 19 * first + 10 * second,
        "decoder": first + second,
    }
    found = np.fromfile(path, np.uint8).reshape(photo.shape)
    given: Any = photo if case.clear is None else Image.fromarray(np.dstack([photo, alpha_of(case)]))
    options = {"seed": case.seed, "dilate": case.dilate, "blend": case.blend, "together": case.together}
    expected = np.asarray(Inpainter.of(bundle.manifest, runtime)(given, mask, **options))[..., :3]
    assert (expected != photo).any()
    outside = (expected == photo).all(axis=-1)
    assert np.array_equal(found[outside], photo[outside])
    # Logarithm, sine and cosine may differ in the last bit, which can move a byte by one where it is rounded.
    difference = np.abs(found.astype(int) - expected)
    assert difference.max() <= 1 and (difference > 0).mean() < 0.001


@pytest.mark.full
def test_the_profile_is_one_and_its_self_test_is_verifys(
    java: str, compiled: str, runtime: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    app = tmp_path / "app.json"
    app.write_bytes(app_json(bundle, find_platform("android")))
    result = tmp_path / "profile.json"
    code, said = run_pipe(java, compiled, runtime, "profile", bundle.folder, app, 3, 2, result)
    assert (code, said) == (0, "")
    profile = report.read(result, bundle)
    assert profile.bundle.files_sha256 == files_sha256(bundle.manifest.files)
    assert {len(times) for times in profile.graphs_ms.values()} == {3}
    assert [len(each.steps_ms) for each in profile.edits] == [19, 19]
    assert len(profile.temperature) == 3 and profile.peak_memory_bytes
    reference = verify(bundle, runtime)
    assert profile.selftest.ok and reference.ok
    graphs = [reference.graphs[graph].db for graph in ("encoder", "denoiser", "decoder")]
    assert profile.selftest.values()[:3] == pytest.approx(graphs, abs=1e-6)
    assert profile.selftest.hole_db == pytest.approx(reference.image.hole_db, abs=1.0)


class Broken(Wrapper):
    """Its denoiser gives NaN."""

    def run(self, graph: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        outputs = super().run(graph, inputs)
        return {name: value * np.nan for name, value in outputs.items()} if graph == "denoiser" else outputs


@pytest.mark.full
def test_faults_end_with_a_sentence_and_no_file(
    java: str, compiled: str, runtime: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    photo = photo_of(150, 110)
    usual = Case((150, 110), ((60, 40, 80, 62),))
    mask = boxed(usual.size, usual.boxes).astype(np.uint8) * 255
    damaged = tmp_path / "damaged.moebius"
    shutil.copytree(bundle.folder, damaged)
    data = bytearray((damaged / "denoiser.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (damaged / "denoiser.onnx").write_bytes(data)
    for wrong, marked, folder, sentence in (
        (runtime, mask, damaged, "denoiser.onnx is damaged or edited"),
        (Broken(runtime), mask, bundle.folder, "the latents after step 1 of 19 contain NaN"),
        (runtime, mask * 0, bundle.folder, "the mask is empty"),
        (runtime, mask * 0 + 1, bundle.folder, "the mask covers the whole photo"),
    ):
        code, said, result = edit(java, compiled, wrong, folder, tmp_path, photo, marked, usual)
        assert code == 2 and sentence in said and said.count("\n") == 1, said
        assert not result.exists() and not list(tmp_path.glob("*.tmp"))


# The rest of the project.


def test_the_example_may_not_use_the_network_whatever_its_libraries_ask_for() -> None:
    manifest = ElementTree.parse(EXAMPLE / "AndroidManifest.xml")
    android, tools = "{http://schemas.android.com/apk/res/android}", "{http://schemas.android.com/tools}"
    asked = {
        each.get(f"{android}name"): each.get(f"{tools}node") for each in manifest.iter("uses-permission")
    }
    names = ("INTERNET", "ACCESS_NETWORK_STATE")
    assert asked == {f"android.permission.{name}": "remove" for name in names}


def test_names_are_those_that_the_profiler_drives() -> None:
    manifest = ElementTree.parse(EXAMPLE / "AndroidManifest.xml")
    space = "{http://schemas.android.com/apk/res/android}"
    activities = {each.get(f"{space}name"): each for each in manifest.iter("activity")}
    assert activities[".ProfileActivity"].get(f"{space}exported") == "true"
    assert activities[".ProfileActivity"].get(f"{space}permission") == "android.permission.DUMP"
    gradle = (PROJECT / "example/build.gradle.kts").read_text()
    assert f'applicationId = "{APP}"' in gradle and f'namespace = "{APP}"' in gradle
    activity = (EXAMPLE / "java/io/moebius/edge/example/ProfileActivity.kt").read_text()
    assert f'TAG = "{TAG}"' in activity and f'"{RESULT}"' in activity
    for option in ("runs", "edits", "steps"):
        assert f'getIntExtra("{option}"' in activity
    platform = find_platform("android")
    assert (PROJECT / platform.app).parent == EXAMPLE / "assets"
    assert (PROJECT / platform.vectors).parent == LIBRARY / "test/resources"


def test_resources_are_there_and_xml_parses() -> None:
    files = sorted(PROJECT.rglob("*.xml"))
    assert len(files) == 4
    for path in files:
        ElementTree.parse(path)
    texts = {
        each.get("name") for each in ElementTree.parse(EXAMPLE / "res/values/strings.xml").iter("string")
    }
    code = "".join(path.read_text() for path in [*EXAMPLE.rglob("*.kt"), *EXAMPLE.rglob("*.xml")])
    used = set(re.findall(r"(?:R\.string\.|@string/)(\w+)", code))
    assert used == texts
    ids = set(re.findall(r'android:id="@\+id/(\w+)"', code))
    assert set(re.findall(r"R\.id\.(\w+)", code)) == ids


def test_kotlin_parses() -> None:
    tree_sitter = pytest.importorskip("tree_sitter", reason="needs tree-sitter and tree-sitter-kotlin")
    grammar = pytest.importorskip("tree_sitter_kotlin", reason="needs tree-sitter and tree-sitter-kotlin")
    parser = tree_sitter.Parser(tree_sitter.Language(grammar.language()))
    assert len(KOTLIN) == 10
    for path in KOTLIN:
        assert not parser.parse(path.read_bytes()).root_node.has_error, path
    example = re.findall(r"```kotlin\n(.*?)```", (ROOT / "docs/android.md").read_text(), re.DOTALL)
    assert len(example) == 1 and not parser.parse(example[0].encode()).root_node.has_error
    assert parser.parse(b"fun broken( {").root_node.has_error


def test_the_page_names_the_versions_of_the_build_files() -> None:
    build = "".join(path.read_text() for path in PROJECT.rglob("*.kts"))
    page = (ROOT / "docs/android.md").read_text()
    for name, pattern in (
        ("Android Gradle plugin", r'com\.android\.\w+"\) version "([\d.]+)"'),
        ("onnxruntime-android", r"onnxruntime-android:([\d.]+)"),
        ("androidx.activity", r"androidx\.activity:activity:([\d.]+)"),
        ("API", r"minSdk = (\d+)"),
        ("platform", r"compileSdk = (\d+)"),
    ):
        assert len(versions := set(re.findall(pattern, build))) == 1, name
        assert f"{name} {versions.pop()}" in page


def test_files_can_be_read_in_one_sitting_and_hold_no_blob() -> None:
    for path in PROJECT.rglob("*"):
        if path.is_file():
            lines = path.read_text().splitlines()
            assert len(lines) <= 300, path
            assert max(map(len, lines), default=0) <= 140, path
