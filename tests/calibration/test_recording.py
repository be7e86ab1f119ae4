"""The file of a calibration: what goes in comes out, and nothing else does."""

from pathlib import Path

import numpy as np
import pytest

from moebius_edge.calibration.observers import Histogram
from moebius_edge.calibration.recording import Recording
from moebius_edge.errors import CalibrationError


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


def test_impossible_histograms_are_refused(recording: Recording, tmp_path: Path) -> None:
    recording.histograms["down.0.conv.in"].counts[7] = -1
    recording.save(tmp_path / "a")
    with pytest.raises(CalibrationError, match="impossible"):
        Recording.load(tmp_path / "a")


def test_a_folder_that_cannot_be_written_is_one_sentence(recording: Recording, tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="cannot write"):
        recording.save(tmp_path / "no" / "file")
