"""The search for the layers that stay floats, on ledgers whose noises add."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from moebius_edge.calibration.activations.calibrate import GraphRuntime
from moebius_edge.calibration.activations.data import CalibrationOptions, Edit
from moebius_edge.calibration.int8 import mixed
from moebius_edge.calibration.int8.mixed import (
    CAP_DB,
    TARGETS_DB,
    WORST_DB,
    Score,
    score,
    search,
    seconds_saved,
)
from moebius_edge.calibration.int8.sensitivity import Entry, Ledger, decibels
from moebius_edge.common.errors import CalibrationError

REST = 1e-7  # noise that no layer causes: 70 dB


def ledger(*noises: float) -> Ledger:
    entries = tuple(
        Entry(f"layer.{i}", "Conv", i % 3 == 0, (i + 1) * 10**6, noise)
        for i, noise in enumerate(sorted(noises, reverse=True))
    )
    return Ledger("0" * 64, "mse", "onnxruntime", 4, sum(noises), entries)


def trial(of: Ledger, spread_db: float = 0.0) -> Callable[[frozenset[str]], Score]:
    def run(kept: frozenset[str]) -> Score:
        db = decibels(REST + sum(entry.noise for entry in of.entries if entry.layer not in kept))
        return Score(db, db - spread_db, 1)

    return run


def names(of: Ledger) -> list[str]:
    return [entry.layer for entry in of.entries]


def never() -> Ledger:
    raise AssertionError("the ledger takes minutes and is not needed")


def quiet(what: str, done: int, total: int) -> None:
    assert done <= total, what


@given(st.lists(st.floats(1e-9, 1e-2), min_size=1, max_size=40), st.floats(*TARGETS_DB))
def test_the_target_is_reached_and_one_layer_less_would_not_do(noises: list[float], target: float) -> None:
    costs = ledger(*noises)
    try_ = trial(costs)
    assume(try_(frozenset(entry.layer for entry in costs.entries)).reaches(target))
    mix = search(names(costs), lambda: costs, try_, target, quiet)
    assert try_(frozenset(mix.kept)).reaches(target)
    assert not mix.kept or not try_(frozenset(mix.kept[:-1])).reaches(target)
    assert 0 <= mix.saved <= 1


def test_the_worst_per_second_come_first() -> None:
    costs = ledger(1e-3, 1e-3, 1e-3, 1e-8)
    mix = search(names(costs), lambda: costs, trial(costs), 50, quiet)
    gains = {entry.layer: entry.noise / seconds_saved(entry) for entry in costs.entries}
    assert list(mix.kept) == sorted(mix.kept, key=lambda name: -gains[name])
    assert set(mix.kept) == {"layer.0", "layer.1", "layer.2"}


def test_int8_alone_is_taken_when_it_is_enough() -> None:
    costs = ledger(1e-6, 1e-7)
    mix = search(names(costs), never, trial(costs), 50, quiet)
    assert mix.kept == ()
    assert mix.saved == 1
    assert len(mix.tried) == 1


def test_a_ledger_of_other_layers_is_refused() -> None:
    costs = ledger(1e-3, 1e-3)
    for layers in (["layer.0"], ["layer.0", "layer.2"], ["layer.0", "layer.1", "layer.2"]):
        with pytest.raises(CalibrationError, match=r"layers are not the \d of this model"):
            search(layers, lambda: costs, trial(costs), 50, quiet)


def test_one_bad_edit_is_not_averaged_away() -> None:
    costs = ledger(1e-3)
    with pytest.raises(CalibrationError, match="not reached even with all layers"):
        search(names(costs), lambda: costs, trial(costs, spread_db=31 + WORST_DB), 40, quiet)


def test_an_identical_edit_does_not_lift_the_mean_and_a_bad_one_ends_the_trial(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    picture = np.zeros((8, 8, 3), np.uint8)
    edits = [Edit(picture, np.ones((8, 8), bool), seed, picture) for seed in range(3)]
    painted: list[int] = []

    def paint(_inpainter: object, photo: Any, _mask: object, seed: int, _options: object) -> Any:
        painted.append(seed)
        return photo + np.uint8([0, 16, 0][seed])  # identical, 24 dB, identical

    monkeypatch.setattr(mixed, "paint", paint)
    monkeypatch.setattr(mixed, "sides", lambda _: (8, 4))
    bad = 20 * np.log10(255 / 16)
    whole = score(GraphRuntime({}), edits, CalibrationOptions())
    assert whole.mean_db == pytest.approx((2 * CAP_DB + bad) / 3)
    assert whole.worst_db == pytest.approx(bad)
    painted.clear()
    assert not score(GraphRuntime({}), edits, CalibrationOptions(), 40.0).reaches(40.0)
    assert painted == [0, 1]
    with pytest.raises(CalibrationError, match="expected one or more"):
        score(GraphRuntime({}), [], CalibrationOptions())


@pytest.mark.parametrize("target", [-3.0, 0.0, 39.0, 61.0, float("nan"), float("inf")])
def test_a_target_that_makes_no_sense_is_refused(target: float) -> None:
    with pytest.raises(CalibrationError, match="expected 40 to 60"):
        search(["layer.0"], never, trial(ledger(1e-3)), target, quiet)
