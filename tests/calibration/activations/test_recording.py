"""The file of a calibration: what goes in comes out, and nothing else does."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moebius_edge.calibration.activations.observers import BINS, OBSERVERS, Histogram
from moebius_edge.calibration.activations.recording import MAX_BYTES, MAX_COUNT, Recording
from moebius_edge.common.errors import CalibrationError
from moebius_edge.common.tensors import Array, read_tensors, write_tensors


@pytest.fixture
def recording() -> Recording:
    histogram = Histogram()
    histogram.add(np.random.default_rng(0).standard_normal(500).astype(np.float32))
    return Recording({"weights_sha256": "a" * 64, "samples": 3}, {"down.0.conv.in": histogram})


def test_a_recording_survives_the_file(recording: Recording, tmp_path: Path) -> None:
    recording.save(tmp_path / "a")
    recording.save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    loaded = Recording.load(tmp_path / "a")
    assert loaded.recipe == recording.recipe
    found, wanted = loaded.histograms["down.0.conv.in"], recording.histograms["down.0.conv.in"]
    assert (found.low, found.high, found.limit) == (wanted.low, wanted.high, wanted.limit)
    assert np.array_equal(found.counts, wanted.counts)


def test_other_weights_are_refused(recording: Recording) -> None:
    recording.require("a" * 64)
    with pytest.raises(CalibrationError, match="other weights"):
        recording.require("b" * 64)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_file_is_refused(recording: Recording, tmp_path: Path, share: float) -> None:
    recording.save(tmp_path / "a")
    data = (tmp_path / "a").read_bytes()
    (tmp_path / "a").write_bytes(data[: int(share * len(data))])
    with pytest.raises(CalibrationError, match="moebius-edge calibrate"):
        Recording.load(tmp_path / "a")


SITE, LONG = "down.0.conv.in", b"x" * 999
IMPOSSIBLE: dict[str, dict[str, Array | None]] = {
    "impossible counts": {f"{SITE}.counts": np.full(BINS, -1)},
    "impossible counts ": {f"{SITE}.counts": np.zeros(BINS, np.int64)},
    "impossible counts  ": {f"{SITE}.counts": np.full(BINS, 2**62)},  # whose sum wraps
    "impossible ends": {f"{SITE}.ends": np.array([1e300, -1.0, 1.0])},
    "impossible ends ": {f"{SITE}.ends": np.array([1.0, -1.0, 2.0])},
    "impossible ends  ": {f"{SITE}.ends": np.array([1.0, 0.5, -0.5])},
    "impossible ends   ": {f"{SITE}.ends": np.array([0.0, 0.0, 0.0])},
    "is no histogram of 2048 bins": {f"{SITE}.ends": np.zeros(3, np.float32)},
    "is no histogram of 2048 bins ": {f"{SITE}.counts": np.ones(BINS - 1, np.int64)},
    "is missing or alone": {f"{SITE}.counts": None},
    "is missing or alone ": {"more": np.ones(1)},
    "it has no histograms": {f"{SITE}.counts": None, f"{SITE}.ends": None},
    "it has no recipe": {"recipe": None},
    "not one of this version": {"recipe": np.frombuffer(b'{"format": "other"}', np.uint8)},
    "appears twice": {"recipe": np.frombuffer(b'{"%b": 1, "%b": 2}' % (LONG, LONG), np.uint8)},
}


@pytest.mark.parametrize("what", IMPOSSIBLE)
def test_what_no_calibration_writes_is_refused(recording: Recording, tmp_path: Path, what: str) -> None:
    path = tmp_path / "a"
    recording.save(path)
    changed = {**read_tensors(path, MAX_BYTES), **IMPOSSIBLE[what]}
    write_tensors(path, {name: tensor for name, tensor in changed.items() if tensor is not None})
    with pytest.raises(CalibrationError, match=what.strip()) as refused:
        Recording.load(path)
    assert len(str(refused.value)) < 400


@given(st.floats(1e-6, 1e6), st.floats(-1, 1), st.floats(-1, 1), st.integers(0, 2**31))
@settings(max_examples=40)
def test_every_observer_reads_what_passes_the_checks(limit: float, a: float, b: float, seed: int) -> None:
    counts = np.zeros(BINS, np.int64)
    rng = np.random.default_rng(seed)
    counts[rng.integers(0, BINS, rng.integers(1, 9))] = rng.integers(1, MAX_COUNT)
    low, high = sorted((a * limit, b * limit))
    for observer in OBSERVERS.values():
        found = observer(Histogram(limit, low, high, counts))
        assert min(low, 0) <= found[0] <= 0 <= found[1] <= max(high, 0)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CalibrationError, match="not a plain file"):
        Recording.load(tmp_path / "pipe")


def test_saving_replaces_a_link_and_not_what_it_points_to(recording: Recording, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("kept")
    (tmp_path / "a").symlink_to(tmp_path / "kept")
    recording.save(tmp_path / "a")
    assert (tmp_path / "kept").read_text() == "kept"
    assert Recording.load(tmp_path / "a").recipe == recording.recipe
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "kept"]


def test_a_folder_that_cannot_be_written_is_one_sentence(recording: Recording, tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="cannot write"):
        recording.save(tmp_path / "no" / "file")
