""".ort files: they run, and broken ones are one sentence, never a crash."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from moebius_edge.bundle.folder import Bundle, seal, staging
from moebius_edge.bundle.manifest import Manifest
from moebius_edge.common.errors import BundleError, RuntimeUnavailable
from moebius_edge.export.options import ExportOptions
from moebius_edge.export.targets.ort_mobile.target import ship
from moebius_edge.runtimes.onnxruntime import OnnxRuntime
from tests.conftest import write_tiny_graphs

LATENTS = {"latents": np.full((1, 4, 4, 4), 0.25, np.float32)}


@pytest.fixture
def bundle(tmp_path: Path, tiny_manifest: Manifest) -> Bundle:
    """The tiny bundle with .ort files."""
    with staging(tmp_path / "mobile.moebius") as folder:
        write_tiny_graphs(folder, tiny_manifest)
        graphs = ship(folder, tiny_manifest.graphs, ExportOptions("ort-mobile"))
        (folder / "capsule.safetensors").write_bytes(b"")
        seal(folder, replace(tiny_manifest, graphs=graphs))
    return Bundle.open(tmp_path / "mobile.moebius")


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
