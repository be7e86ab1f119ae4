"""Summarize a device's profile in the numbers that one compares: medians, percentiles, and what heat does."""

from dataclasses import asdict, dataclass
from itertools import pairwise
from statistics import median
from typing import Any

from moebius_edge.bundle.manifest import GRAPH_NAMES
from moebius_edge.common.timing import summary
from moebius_edge.devices.report import DeviceProfile, SelfTest, Temperature

SHORTEST_MS = 1e-3  # the last digit of what is shown; a ratio to less says nothing
ENDS = 5  # edits at either end of a run, compared to see throttling


@dataclass(frozen=True)
class GraphSummary:
    """The times of one graph."""

    cold_ms: float  # loading, the first time in this installation
    warm_ms: float  # loading, later in the same process
    p50_ms: float
    p95_ms: float
    times_ms: tuple[float, ...]


@dataclass(frozen=True)
class EditSummary:
    """The times of whole edits, photo to photo."""

    denoiser_runs: int
    p50_ms: float
    p95_ms: float
    times_ms: tuple[float, ...]
    steps_p50_ms: tuple[float, ...]  # each step's median over the edits


@dataclass(frozen=True)
class StateChange:
    """A moment when the system's word for the temperature became another one."""

    after_edits: int  # 0: it is the first word, before any edit
    state: str


# Android's PowerManager numbers what other systems name.
ANDROID_STATES = ("none", "light", "moderate", "severe", "critical", "emergency", "shutdown")


def thermal_word(platform: str, state: str) -> str:
    """Return the state for people: Android's number with its name."""
    if platform == "android" and state.isdecimal() and int(state) < len(ANDROID_STATES):
        return f"{state} ({ANDROID_STATES[int(state)]})"
    return state


@dataclass(frozen=True)
class Throttling:
    """How speed and temperature changed over the edits."""

    # Median of the last ENDS edits / of the first; above 1: slower. None: under 2 x ENDS edits.
    ratio: float | None
    celsius: tuple[float | None, ...]  # before the first edit and after each; empty: the app cannot tell
    states: tuple[StateChange, ...]


@dataclass(frozen=True)
class DeviceSummary:
    """What one device measured."""

    source: str  # where it came from: "android SERIAL", or a file's name
    device: dict[str, str]
    engine: dict[str, str]
    threads: int | None
    graphs: dict[str, GraphSummary]
    edit: EditSummary | None  # None: no whole edits were measured
    throttling: Throttling
    peak_mb: float | None  # largest memory of the process, in 10^6 bytes
    selftest: SelfTest

    @property
    def heat(self) -> list[tuple[int, str]]:
        """The system's words for the temperature, each with how many edits were done when it came."""
        platform = self.device["platform"]
        return [(each.after_edits, thermal_word(platform, each.state)) for each in self.throttling.states]

    @property
    def heat_words(self) -> str:
        """The changes of `heat` as one line; empty where the system says nothing."""
        return ", then ".join(f"{word} after {edits} edits" if edits else word for edits, word in self.heat)

    @property
    def name(self) -> str:
        """A name for people: the device and what computed."""
        return f"{self.device['model']}, {self.engine['unit']}"

    def to_json(self) -> dict[str, Any]:
        """Return plain values for `json.dumps`."""
        return asdict(self)


def summarize(profile: DeviceProfile, source: str) -> DeviceSummary:
    """Compute the numbers of one profile; `source` says where it came from."""
    peak = profile.peak_memory_bytes
    return DeviceSummary(
        source=source,
        device=asdict(profile.device),
        engine=asdict(profile.engine),
        threads=profile.threads,
        graphs={name: _graph(profile, name) for name in GRAPH_NAMES},
        edit=_edit(profile),
        throttling=_throttling(profile),
        peak_mb=None if peak is None else round(peak / 1e6, 1),
        selftest=profile.selftest,
    )


def _graph(profile: DeviceProfile, name: str) -> GraphSummary:
    load, side = profile.load_ms[name], summary(profile.graphs_ms[name])
    return GraphSummary(round(load.cold, 3), round(load.warm, 3), side.p50_ms, side.p95_ms, side.times_ms)


def _edit(profile: DeviceProfile) -> EditSummary | None:
    if not profile.edits:
        return None
    side = summary([edit.total_ms for edit in profile.edits])
    steps = zip(*(edit.steps_ms for edit in profile.edits), strict=True)
    return EditSummary(
        denoiser_runs=len(profile.edits[0].steps_ms),
        p50_ms=side.p50_ms,
        p95_ms=side.p95_ms,
        times_ms=side.times_ms,
        steps_p50_ms=tuple(round(median(times), 3) for times in steps),
    )


def _throttling(profile: DeviceProfile) -> Throttling:
    totals = [edit.total_ms for edit in profile.edits]
    first = median(totals[:ENDS]) if len(totals) >= 2 * ENDS else 0.0
    return Throttling(
        ratio=round(median(totals[-ENDS:]) / first, 3) if first >= SHORTEST_MS else None,
        celsius=tuple(entry.celsius for entry in profile.temperature),
        states=_states(profile.temperature),
    )


def _states(entries: tuple[Temperature, ...]) -> tuple[StateChange, ...]:
    words = [(number, entry.state) for number, entry in enumerate(entries) if entry.state is not None]
    changes = [after for before, after in pairwise([(0, None), *words]) if after[1] != before[1]]
    return tuple(StateChange(number, str(state)) for number, state in changes)
