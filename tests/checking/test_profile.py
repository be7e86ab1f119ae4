"""Timing in pairs, the options and the fresh process; whole profiles are in tests/cli/test_profile.py."""

import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from moebius_edge.bundle.folder import Bundle
from moebius_edge.checking import first_run
from moebius_edge.checking.efficiency import NOTE, PUBLISHED, note, row
from moebius_edge.checking.profile import EditTiming, ProfileOptions, busy_names, profile
from moebius_edge.common import timing
from moebius_edge.common.errors import BundleError, InvalidInput, RuntimeUnavailable
from moebius_edge.common.machine import cores, machine
from moebius_edge.common.timing import busy_sentence, interleave, median_ratio, summary


class Clock:
    """Time that passes only when somebody works."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(timing.time, "perf_counter", lambda: self.now)
        monkeypatch.setattr(timing.time, "sleep", lambda seconds: None)


def test_runs_alternate_and_the_first_round_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, order = Clock(monkeypatch), []

    def work(name: str, seconds: float) -> Callable[[], None]:
        def run() -> None:
            # Loading makes the first run long, and the machine grows slower with every run of anything.
            first = name not in order
            clock.now += 100.0 if first else seconds * (1 + len(order))
            order.append(name)

        return run

    ticks: list[int] = []
    times = interleave([work("a", 1), work("b", 2)], 4, lambda: ticks.append(1))
    assert "".join(order) == "ba" + "ab" + "ba" + "ab" + "ba"
    assert len(ticks) == 10
    assert times[0] == pytest.approx([3000, 6000, 7000, 10000])
    assert times[1] == pytest.approx([8000, 10000, 16000, 18000])
    # The drift is in both: the ratio of pairs stays near 2, whichever ran first.
    assert median_ratio(times) == pytest.approx(2.04, abs=0.01)


def test_ratio_is_the_median_over_pairs_not_the_ratio_of_medians() -> None:
    assert median_ratio([[1.0, 10.0, 100.0], [3.0, 20.0, 400.0]]) == 3.0
    assert median_ratio([[1.0, 2.0]]) is None


def test_summary_of_times() -> None:
    side = summary([float(value) for value in range(1, 101)], first_run_ms=60.0)
    assert (side.p50_ms, side.p95_ms, side.load_ms) == (50.5, 95.05, 9.5)
    assert summary([2.0], first_run_ms=1.0).load_ms == 0.0
    assert summary([2.0]).load_ms is None


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"graphs": ("unet",)}, "there is no graph 'unet'"),
        ({"graphs": ()}, "no graph"),
        ({"runs": 0}, "runs is 0"),
        ({"edits": -1}, "edits -1"),
        ({"threads": 0}, "threads is 0"),
        ({"steps": 0}, "steps is 0"),
    ],
)
def test_impossible_options_are_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        ProfileOptions(**values)


def test_capsule_of_another_version_is_refused_before_anything_runs(
    make_bundle: Callable[..., Bundle],
) -> None:
    with pytest.raises(BundleError, match="the capsule has no tensor"):
        profile(make_bundle())


def test_failures_of_the_fresh_process_are_told(
    make_bundle: Callable[..., Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = make_bundle()
    with pytest.raises(RuntimeUnavailable, match="the capsule has no tensor 'photo'"):
        first_run.measure_first_run(bundle, ("decoder",))
    killed = subprocess.CompletedProcess([], -9, stdout="", stderr="")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: killed)
    with pytest.raises(RuntimeUnavailable, match="not enough memory"):
        first_run.measure_first_run(bundle, ("decoder",))


def test_row_of_the_efficiency_table() -> None:
    made = row("nano", 2_000_000, 500_000_000, 12.345, 19)
    assert (made.parameters_m, made.tmacs, made.ms_per_step, made.steps) == (2.0, 0.0005, 12.35, 19)
    assert made.total_s == 0.235 and made.measured == "here"
    unknown = row("nano", 1, None, None, 19)
    assert unknown.tmacs is None and unknown.total_s is None
    moebius = PUBLISHED[0]
    assert moebius.ms_per_step and moebius.steps and moebius.total_s
    assert moebius.ms_per_step * moebius.steps / 1000 == pytest.approx(moebius.total_s, abs=0.005)
    assert all(entry.measured == "elsewhere" for entry in PUBLISHED)


def test_a_small_model_is_not_shown_as_a_fast_one() -> None:
    nano, full = row("nano", 2_000_000, None, 12.3, 19), row("places2", 226_041_531, None, 2200.0, 19)
    assert note([full]) == NOTE and "other models on another machine" in NOTE
    assert note([nano, full]).removeprefix(NOTE) == (
        " nano has 2.00 M parameters, the published Moebius 226 M: it is a smaller model, not a faster one."
    )


@pytest.mark.parametrize(
    ("ours", "theirs", "busy"),
    [
        ([10, 10, 10], [20, 20, 21], ()),
        ([10, 10, 17], [20, 20, 20], ("edit",)),
        ([10] * 3, [20, 20, 90], ("edit",)),
    ],
)
def test_a_busy_machine_is_told_by_the_spread(
    ours: list[float], theirs: list[float], busy: tuple[str, ...]
) -> None:
    first, against = summary(ours), summary(theirs)
    edit = EditTiming(2, 2, first.p50_ms, first.p95_ms, None, first.times_ms, against)
    assert busy_names({}, edit) == busy
    assert "whole edit" in busy_sentence(("denoiser", "edit"))


def test_machine_is_described() -> None:
    assert cores() >= 1 and set(machine()) == {"system", "processor", "cores", "python"}


def test_a_clock_that_saw_no_time_pass_gives_no_ratio() -> None:
    assert median_ratio([[0.0, 1.0], [2.0, 2.0]]) is None
    assert median_ratio([[1.0, 2.0], [0.0, 6.0]]) == 1.5
    assert median_ratio([[1.0]]) is None


@pytest.mark.parametrize("threads", [0, 4 * cores() + 1, 1024])
def test_threads_that_are_no_help_are_refused(threads: int) -> None:
    words = rf"threads is {threads}; this machine has {cores()} cores?, .*: choose {cores()}, or none"
    with pytest.raises(InvalidInput, match=words):
        ProfileOptions(threads=threads)
    assert ProfileOptions(threads=cores()).threads == cores()
