""".ort files: they run, and broken ones are one sentence, never a crash."""

import struct
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from moebius_edge.bundle.folder import Bundle
from moebius_edge.bundle.manifest import Manifest
from moebius_edge.common.errors import BundleError, RuntimeUnavailable
from moebius_edge.export.targets.ort_mobile.target import RUNTIME, convert
from moebius_edge.runtimes.graph_limits import graph_sizes
from moebius_edge.runtimes.onnxruntime import OnnxRuntime
from tests.attacks.bundles import write_ort_bundle
from tests.attacks.graphs import model
from tests.attacks.ort_files import graph_of, replaced

LATENTS = {"latents": np.full((1, 4, 4, 4), 0.25, np.float32)}


@pytest.fixture
def bundle(tmp_path: Path, tiny_manifest: Manifest) -> Bundle:
    """The tiny bundle with .ort files."""
    return write_ort_bundle(tmp_path / "mobile.moebius", tiny_manifest)


def test_ort_files_run(bundle: Bundle) -> None:
    image = OnnxRuntime(bundle, threads=1).run("decoder", LATENTS)["image"]
    np.testing.assert_allclose(image, np.full((1, 3, 8, 8), 0.25))


def attempt(bundle: Bundle, data: bytes) -> str:
    """Put `data` in the place of the decoder and run it; what was said, or "" when it ran."""
    bundle.file("decoder.ort").write_bytes(data)
    try:
        OnnxRuntime(bundle, threads=1).run("decoder", LATENTS)
    except (RuntimeUnavailable, BundleError) as error:
        assert "\n" not in str(error) and "decoder" in str(error)
        return str(error)
    return ""


def test_cut_off_files_are_refused(bundle: Bundle, capfd: pytest.CaptureFixture[str]) -> None:
    data = bundle.file("decoder.ort").read_bytes()
    end = len(data) - 16  # the last bytes are padding
    for length in {*range(0, 64, 3), *range(64, end, 97), end}:
        assert "cannot load decoder (decoder.ort)" in attempt(bundle, data[:length]), length
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "data", [b"\x00" * 200, b"\x08\x00\x00\x00ORTM" + b"\xff" * 200, b"\x08\x0aORTM" * 99]
)
def test_garbage_is_refused(bundle: Bundle, data: bytes) -> None:
    assert "cannot load decoder (decoder.ort)" in attempt(bundle, data)


def test_changed_words_never_crash(bundle: Bundle, capfd: pytest.CaptureFixture[str]) -> None:
    """Any word of the file replaced by a hostile one: the engine refuses, or runs it as the program it is."""
    data, rng = bundle.file("decoder.ort").read_bytes(), np.random.default_rng(0)
    said = []
    for _ in range(300):
        place = 4 * int(rng.integers(len(data) // 4))
        word = int(rng.choice([0, 1, 0xFFFFFFFF, 0x7FFFFFFF, 0x80000000, rng.integers(1 << 32), len(data)]))
        said.append(attempt(bundle, data[:place] + word.to_bytes(4, "little") + data[place + 4 :]))
    assert sum(map(bool, said)) > 100
    assert capfd.readouterr().out == ""  # the engine's Python layer would print and try again


def test_an_onnx_file_that_is_called_ort_is_refused(bundle: Bundle) -> None:
    assert "cannot load decoder (decoder.ort)" in attempt(
        bundle, onnx.ModelProto().SerializeToString() + b"x"
    )


def test_changed_words_give_an_error_or_sizes_and_nothing_else(bundle: Bundle, tmp_path: Path) -> None:
    data, rng = bundle.file("decoder.ort").read_bytes(), np.random.default_rng(1)
    path, shapes, refused = tmp_path / "x.ort", {"latents": (1, 4, 4, 4)}, 0
    for _ in range(500):
        changed = bytearray(data)
        for _ in range(int(rng.integers(1, 4))):
            place = int(rng.integers(len(data) - 4))
            word = int(
                rng.choice([0, 1, 2, 0xFFFF, 0xFFFFFFFF, 0x80000000, len(data), rng.integers(1 << 32)])
            )
            changed[place : place + 4] = word.to_bytes(4, "little")
        path.write_bytes(changed)
        try:
            graph_sizes(path, shapes, {path.name: len(data)})
        except ValueError as error:
            refused += bool(str(error))
    assert refused > 250


def test_saved_optimizations_join_a_convolution_and_its_activation_alone(tmp_path: Path) -> None:
    """The engine replays what the file says; other pairs could be of other sizes than those that are read."""
    node = helper.make_node
    nodes = [node("Conv", ["latents", "k"], ["c"]), node("Relu", ["c"], ["x"])]
    weights = {"k": np.ones((4, 4, 1, 1), np.float32)}
    source, path = tmp_path / "x.onnx", tmp_path / "x.ort"
    source.write_bytes(model(nodes, weights).SerializeToString())
    convert(source, path, RUNTIME.minimal)
    data = path.read_bytes()
    shapes, files = {"latents": (1, 4, 4, 4)}, {path.name: len(data)}
    graph_sizes(path, shapes, files)
    record = graph_of(data).RuntimeOptimizations().Records(0).RuntimeOptimizationRecords(0)
    chosen = record.NodesToOptimizeIndices()
    place = chosen._tab.Vector(chosen._tab.Offset(4))
    for indices in ((0, 2), (1, 0), (1, 1), (99, 1)):
        path.write_bytes(replaced(data, place, struct.pack("<II", *indices)))
        with pytest.raises(ValueError, match="saved optimizations"):
            graph_sizes(path, shapes, files)
