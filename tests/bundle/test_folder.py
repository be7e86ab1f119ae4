"""Bundles are whole or absent, believe nothing when opened, and are the same bytes for the same inputs."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from moebius_edge.bundle.folder import Bundle, refuse_inside, seal, staging
from moebius_edge.bundle.manifest import Manifest
from moebius_edge.common import staging as staging_module
from moebius_edge.common.errors import BundleError, ExportError, InvalidInput
from moebius_edge.common.tensors import write_tensors

MakeBundle = Callable[..., Bundle]


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def refuse(folder: Path) -> str:
    """Open must fail, with one sentence; returns it."""
    with pytest.raises(BundleError) as caught:
        Bundle.open(folder)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 600
    return message


# Opening


def test_open_gives_the_manifest_and_the_files(make_bundle: MakeBundle) -> None:
    bundle = make_bundle()
    assert set(bundle.manifest.files) == {
        "encoder.onnx",
        "denoiser.onnx",
        "decoder.onnx",
        "capsule.safetensors",
    }
    assert bundle.file("decoder.onnx").read_bytes()
    with pytest.raises(BundleError, match=r"'manifest.json' is not in the bundle"):
        bundle.file("manifest.json")


def test_capsule_comes_back_as_written(make_bundle: MakeBundle) -> None:
    capsule = make_bundle().capsule()
    np.testing.assert_array_equal(
        capsule["decoder.latents"], np.arange(64, dtype=np.float32).reshape(1, 4, 4, 4)
    )


def test_every_file_may_be_read_by_whom_the_umask_allows(tmp_path: Path, tiny_manifest: Manifest) -> None:
    with staging(tmp_path / "b") as folder:
        for graph in tiny_manifest.graphs.values():
            (folder / graph.file).touch(mode=0o600)
        write_tensors(folder / "capsule.safetensors", {"x": np.zeros(1, np.float32)})
        seal(folder, tiny_manifest)
    assert len({path.stat().st_mode for path in (tmp_path / "b").iterdir()}) == 1


def test_same_inputs_give_the_same_bytes(make_bundle: MakeBundle) -> None:
    first, second = make_bundle("a.moebius"), make_bundle("b.moebius")
    assert snapshot(first.folder) == snapshot(second.folder)


def test_a_bundle_may_be_moved_and_linked_to(make_bundle: MakeBundle, tmp_path: Path) -> None:
    folder = make_bundle().folder.rename(tmp_path / "elsewhere")
    (tmp_path / "link").symlink_to(folder)
    assert Bundle.open(tmp_path / "link").manifest == Bundle.open(str(folder)).manifest


def test_missing_folder_file_and_empty_folder(tmp_path: Path) -> None:
    assert "does not exist" in refuse(tmp_path / "absent")
    (tmp_path / "file").write_text("x")
    assert "is not a folder" in refuse(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    assert "has no manifest.json" in refuse(tmp_path / "empty")


def test_each_missing_file_is_named(make_bundle: MakeBundle, tmp_path: Path) -> None:
    bundle = make_bundle()
    for name in bundle.manifest.files:
        copy = shutil.copytree(bundle.folder, tmp_path / f"without-{name}")
        (copy / name).unlink()
        message = refuse(copy)
        assert message.startswith(f"{name} is missing") and "copy the bundle again" in message


def test_each_truncation_is_named(make_bundle: MakeBundle) -> None:
    bundle = make_bundle()
    for name, entry in bundle.manifest.files.items():
        path = bundle.folder / name
        original = path.read_bytes()
        for length in (0, 1, entry.size // 2, entry.size - 1):
            path.write_bytes(original[:length])
            message = refuse(bundle.folder)
            assert name in message and f"{length:,} bytes; expected {entry.size:,}" in message
        path.write_bytes(original)
    Bundle.open(bundle.folder)


def test_each_flipped_byte_is_found(make_bundle: MakeBundle) -> None:
    bundle = make_bundle()
    for name in (*bundle.manifest.files, "manifest.json"):
        path = bundle.folder / name
        original = path.read_bytes()
        for position in range(0, len(original), max(1, len(original) // 25)):
            damaged = bytearray(original)
            damaged[position] ^= 0x10
            path.write_bytes(damaged)
            assert name in refuse(bundle.folder)
        path.write_bytes(original)
    Bundle.open(bundle.folder)


def test_extra_files_are_refused_but_not_what_file_managers_leave(make_bundle: MakeBundle) -> None:
    folder = make_bundle().folder
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "._decoder.onnx"):
        (folder / name).write_text("x")
    Bundle.open(folder)
    (folder / "extra.bin").write_text("x")
    assert refuse(folder).startswith("extra.bin is in")
    (folder / "extra.bin").unlink()
    (folder / "sub").mkdir()
    (folder / "sub" / "weights.data").write_text("x")
    assert refuse(folder).startswith("sub/weights.data is in")


def test_links_and_pipes_inside_are_refused_without_being_opened(make_bundle: MakeBundle) -> None:
    folder = make_bundle().folder
    target = folder / "decoder.onnx"
    target.rename(folder.parent / "real.onnx")
    target.symlink_to(folder.parent / "real.onnx")
    assert "decoder.onnx" in refuse(folder) and "not a plain file" in refuse(folder)
    target.unlink()
    os.mkfifo(target)  # opening it would wait for a writer for ever
    assert "not a plain file" in refuse(folder)
    target.unlink()
    target.mkdir()
    assert "not a plain file" in refuse(folder)


def test_a_linked_subfolder_is_refused(tiny_manifest: Manifest, tmp_path: Path) -> None:
    def nest(name: str) -> str:
        return f"parts/{name}.onnx"

    graphs = {name: replace(spec, file=nest(name)) for name, spec in tiny_manifest.graphs.items()}
    with staging(tmp_path / "b") as folder:
        (folder / "parts").mkdir()
        for name in graphs:
            (folder / nest(name)).write_text(name)
        write_tensors(folder / "capsule.safetensors", {"x": np.zeros(1, np.float32)})
        seal(folder, replace(tiny_manifest, graphs=graphs))
    assert Bundle.open(tmp_path / "b").file("parts").is_dir()
    (tmp_path / "b" / "parts").rename(tmp_path / "outside")
    (tmp_path / "b" / "parts").symlink_to(tmp_path / "outside")
    assert "parts in b is a link" in refuse(tmp_path / "b")


def test_a_claim_of_gigabytes_is_refused_at_once(make_bundle: MakeBundle) -> None:
    bundle = make_bundle()
    with (bundle.folder / "decoder.onnx").open("wb") as file:
        file.truncate(10 << 30)  # sparse: hashing it would take half a minute
    start = time.process_time()
    assert "10,737,418,240 bytes" in refuse(bundle.folder)
    (bundle.folder / "manifest.json").write_bytes(b"")
    with (bundle.folder / "manifest.json").open("wb") as file:
        file.truncate(10 << 30)
    assert "manifest.json has 10,737,418,240 bytes" in refuse(bundle.folder)
    assert time.process_time() - start < 1.0


# Staging


@contextmanager
def filled(output: Path, manifest: Manifest, overwrite: bool = False, mark: bytes = b"x") -> Iterator[Path]:
    """Stage a sealed bundle with placeholder graphs; the body runs before the rename."""
    with staging(output, overwrite=overwrite) as folder:
        for graph in manifest.graphs.values():
            (folder / graph.file).write_bytes(mark)
        write_tensors(folder / "capsule.safetensors", {"x": np.zeros(1, np.float32)})
        seal(folder, manifest)
        yield folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_failure_leaves_nothing(
    tmp_path: Path, tiny_manifest: Manifest, error: type[BaseException]
) -> None:
    with pytest.raises(error), filled(tmp_path / "new" / "deep" / "b", tiny_manifest):
        raise error
    assert names(tmp_path) == []


def test_nothing_is_visible_until_it_is_whole(tmp_path: Path, tiny_manifest: Manifest) -> None:
    with filled(tmp_path / "b", tiny_manifest) as folder:
        assert not (tmp_path / "b").exists()
        assert folder.parent == tmp_path and folder.name.startswith(".b.tmp-")
    assert names(tmp_path) == ["b"]
    Bundle.open(tmp_path / "b")


def test_an_unfinished_bundle_is_not_put_in_place(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="was not finished"), staging(tmp_path / "b") as folder:
        (folder / "decoder.onnx").write_text("x")
    assert names(tmp_path) == []


def test_seal_refuses_what_would_not_open(tmp_path: Path, tiny_manifest: Manifest) -> None:
    with pytest.raises(ExportError, match="not among its files"), staging(tmp_path / "b") as folder:
        seal(folder, tiny_manifest)
    assert names(tmp_path) == []


def test_existing_output_is_kept_unless_overwriting_a_bundle(tmp_path: Path, tiny_manifest: Manifest) -> None:
    with filled(tmp_path / "b", tiny_manifest, mark=b"old"):
        pass
    with pytest.raises(ExportError, match="already exists"), filled(tmp_path / "b", tiny_manifest):
        pytest.fail("must be refused before any work")
    assert (tmp_path / "b" / "decoder.onnx").read_bytes() == b"old"
    with filled(tmp_path / "b", tiny_manifest, overwrite=True, mark=b"new"):
        assert (tmp_path / "b" / "decoder.onnx").read_bytes() == b"old"
    assert (tmp_path / "b" / "decoder.onnx").read_bytes() == b"new"
    assert names(tmp_path) == ["b"]
    with pytest.raises(ValueError), filled(tmp_path / "b", tiny_manifest, overwrite=True):
        raise ValueError
    assert (tmp_path / "b" / "decoder.onnx").read_bytes() == b"new"


def test_overwriting_replaces_only_bundles(tmp_path: Path, tiny_manifest: Manifest) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("years")
    with pytest.raises(ExportError, match="holds something else"):
        filled(tmp_path / "home", tiny_manifest, overwrite=True).__enter__()
    (tmp_path / "file").write_text("x")
    with pytest.raises(ExportError, match="not a folder"):
        filled(tmp_path / "file", tiny_manifest, overwrite=True).__enter__()
    (tmp_path / "link").symlink_to(tmp_path / "home")
    with pytest.raises(ExportError, match="not a folder"):
        filled(tmp_path / "link", tiny_manifest, overwrite=True).__enter__()
    assert (tmp_path / "home" / "thesis.txt").read_text() == "years"
    assert names(tmp_path) == ["file", "home", "link"]


def test_the_old_bundle_comes_back_when_the_swap_fails(
    tmp_path: Path, tiny_manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    with filled(tmp_path / "b", tiny_manifest, mark=b"old"):
        pass
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if ".tmp-" in self.name:
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(ExportError), filled(tmp_path / "b", tiny_manifest, overwrite=True, mark=b"new"):
        pass
    assert names(tmp_path) == ["b"]
    assert (tmp_path / "b" / "decoder.onnx").read_bytes() == b"old"


def test_two_exports_at_once_one_wins(tmp_path: Path, tiny_manifest: Manifest) -> None:
    barrier = threading.Barrier(2)
    results: list[str] = []

    def export(mark: bytes) -> None:
        try:
            with filled(tmp_path / "b", tiny_manifest, mark=mark):
                barrier.wait(10)
            results.append(mark.decode())
        except ExportError as error:
            assert "already exists" in str(error)
            results.append("refused")

    threads = [threading.Thread(target=export, args=(mark,)) for mark in (b"1", b"2")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert "refused" in results and len(set(results)) == 2
    winner = next(result for result in results if result != "refused")
    assert (tmp_path / "b" / "decoder.onnx").read_text() == winner
    assert names(tmp_path) == ["b"]
    Bundle.open(tmp_path / "b")


def test_a_living_export_is_not_swept(tmp_path: Path, tiny_manifest: Manifest) -> None:
    with filled(tmp_path / "b", tiny_manifest) as first:
        with pytest.raises(RuntimeError), filled(tmp_path / "b", tiny_manifest):
            raise RuntimeError
        assert (first / "manifest.json").is_file()
    Bundle.open(tmp_path / "b")


CHILD = """
    import os, sys, time
    from pathlib import Path
    from moebius_edge.bundle.folder import staging
    with staging(Path(sys.argv[1])) as folder:
        (folder / "part.onnx").write_bytes(b"x" * 1000)
        print("ready", flush=True)
        time.sleep(60)
"""


def run_child(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_killed_export_leaves_no_bundle_and_is_swept(tmp_path: Path, tiny_manifest: Manifest) -> None:
    child = run_child(CHILD, tmp_path / "b")
    assert child.stdout is not None and child.stdout.readline() == "ready\n"
    child.send_signal(signal.SIGKILL)
    child.communicate()
    (left,) = names(tmp_path)
    assert left.startswith(".b.tmp-")
    with filled(tmp_path / "b", tiny_manifest):
        pass
    assert names(tmp_path) == ["b"]


def test_ctrl_c_during_an_export_leaves_nothing(tmp_path: Path) -> None:
    child = run_child(CHILD, tmp_path / "b")
    assert child.stdout is not None and child.stdout.readline() == "ready\n"
    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=30)
    assert child.returncode != 0 and "KeyboardInterrupt" in errors
    assert names(tmp_path) == []


def test_a_kill_in_the_middle_of_a_swap_is_put_right(tmp_path: Path, tiny_manifest: Manifest) -> None:
    with filled(tmp_path / "b", tiny_manifest, mark=b"old"):
        pass
    (tmp_path / "b").rename(tmp_path / ".b.old-01234567")  # what a kill between the two renames leaves
    with pytest.raises(ExportError, match="already exists"):
        filled(tmp_path / "b", tiny_manifest).__enter__()
    assert (tmp_path / "b" / "decoder.onnx").read_bytes() == b"old"
    assert names(tmp_path) == ["b"]


FULL_DISK = """
    import resource, sys
    from pathlib import Path
    from moebius_edge.bundle.folder import staging
    from moebius_edge.common.errors import ExportError
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    try:
        with staging(Path(sys.argv[1])) as folder:
            (folder / "denoiser.onnx").write_bytes(b"x" * 1_000_000)
    except ExportError as error:
        print(error)
"""


def test_a_write_that_does_not_fit_is_one_sentence(tmp_path: Path) -> None:
    output, errors = run_child(FULL_DISK, tmp_path / "b").communicate(timeout=60)
    assert errors == ""
    assert output == f"cannot write {tmp_path / 'b'}: File too large; nothing was written. " + (
        "Free some space or choose another disk\n"
    )
    assert names(tmp_path) == []


def test_a_full_disk_at_the_flush_is_one_sentence(
    tmp_path: Path, tiny_manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(staging_module.os, "fsync", full)
    with pytest.raises(ExportError, match="No space left on device"), filled(tmp_path / "b", tiny_manifest):
        pass
    assert names(tmp_path) == []


@pytest.mark.skipif(sys.platform != "linux", reason="/sys is what even root cannot write to")
def test_a_folder_that_cannot_be_written(tiny_manifest: Manifest) -> None:
    with pytest.raises(ExportError, match=r"cannot write /sys/b: .*Choose a folder that you may write to"):
        filled(Path("/sys/b"), tiny_manifest).__enter__()


def test_a_file_in_the_way_of_the_parent(tmp_path: Path, tiny_manifest: Manifest) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ExportError, match="cannot write"):
        filled(tmp_path / "file" / "b", tiny_manifest).__enter__()
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("output", ["/", "..", "x" * 300])
def test_impossible_outputs(tiny_manifest: Manifest, tmp_path: Path, output: str) -> None:
    with pytest.raises(ExportError):
        filled(tmp_path / output, tiny_manifest).__enter__()
    assert names(tmp_path) == []


@pytest.mark.parametrize("kind", ["damaged", "older"])
def test_nothing_is_written_into_a_bundle_that_does_not_open(
    make_bundle: Callable[..., Bundle], kind: str, tiny_manifest: Manifest
) -> None:
    bundle = make_bundle()
    path = bundle.folder / "manifest.json"
    change = {"damaged": (b'"size": ', b'"size": 9'), "older": (b'_version": 3', b'_version": 2')}[kind]
    path.write_bytes(path.read_bytes().replace(*change))
    with pytest.raises(BundleError):
        Bundle.open(bundle.folder)
    with pytest.raises(InvalidInput, match=r"would lie in the bundle tiny\.moebius"):
        staging(bundle.folder / "b")
    path.write_text('{"name": "a browser extension"}')
    refuse_inside(bundle.folder / "b")
