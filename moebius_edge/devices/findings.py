"""Collect what one `profile` found: here, on devices, and of other bundles.

Results from here and from devices also have a common view: `Place`.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from moebius_edge.checking.profile import EditTiming, Profile, Timing
from moebius_edge.common.timing import Side
from moebius_edge.devices.sizes import SizeRow
from moebius_edge.devices.summary import DeviceSummary


@dataclass(frozen=True)
class Findings:
    """Everything that a report shows."""

    local: Profile | None  # None: nothing was measured here
    devices: tuple[DeviceSummary, ...]
    sizes: tuple[SizeRow, ...]  # the bundle itself first
    steps_ms: tuple[float, ...] = ()  # of one more edit here; empty: not measured

    @property
    def ok(self) -> bool:
        """Whether the self-test passed on every device."""
        return all(device.selftest.ok for device in self.devices)

    def to_json(self) -> dict[str, Any]:
        """Return plain values for `json.dumps`.

        They are the local profile's own keys, and `devices`, `sizes`, `steps_ms`.
        """
        return {
            **(self.local.to_json() if self.local is not None else {}),
            "devices": [device.to_json() for device in self.devices],
            "sizes": [row.to_json() for row in self.sizes],
            "steps_ms": list(self.steps_ms),
        }


@dataclass(frozen=True)
class Times:
    """The times of one graph, or of whole edits, at one place."""

    p50_ms: float
    p95_ms: float
    times_ms: tuple[float, ...]
    cold_ms: float | None = None  # loading, the first time; here: by a fresh process
    warm_ms: float | None = None  # loading, later in the same process


@dataclass(frozen=True)
class Place:
    """Where a bundle ran, and how fast."""

    name: str
    system: str
    processor: str
    engine: str
    threads: int | None
    peak_mb: float | None
    graphs: dict[str, Times]
    edit: Times | None
    steps_ms: tuple[float, ...] = ()  # each step; there: its median over the edits; empty: not measured
    denoiser_runs: int = 0
    selftest: str = "-"
    celsius: tuple[float | None, ...] = field(default=())
    device: DeviceSummary | None = None


def places(findings: Findings) -> list[Place]:
    """List this machine (once for each bundle), then the devices.

    Devices of the same name get their source added to it.
    """
    found = [*_here(findings.local, findings.steps_ms), *map(_there, findings.devices)]
    names = Counter(place.name for place in found)
    return [
        replace(place, name=f"{place.name} ({place.device.source})")
        if place.device is not None and names[place.name] > 1
        else place
        for place in found
    ]


def _here(profile: Profile | None, steps_ms: tuple[float, ...]) -> Iterator[Place]:
    if profile is None:
        return
    for subject, other in ((profile.bundle, False), (profile.against, True)):
        if subject is None:
            continue
        edit = None if profile.edit is None else _side(profile.edit, other)
        yield Place(
            name=f"here, {subject.name}" if profile.against else "here",
            system=profile.machine["system"],
            processor=profile.machine["processor"],
            engine=subject.runtime,
            threads=profile.threads,
            peak_mb=subject.peak_mb,
            graphs={name: _side(timing, other) for name, timing in profile.graphs.items()},
            edit=edit,
            steps_ms=() if other else steps_ms,
            denoiser_runs=0 if profile.edit is None else profile.edit.denoiser_runs,
        )


def _side(timing: Timing | EditTiming, other: bool) -> Times:
    side: Timing | EditTiming | Side = timing
    if other and timing.against is not None:
        side = timing.against
    return Times(side.p50_ms, side.p95_ms, side.times_ms, cold_ms=getattr(side, "load_ms", None))


def _there(device: DeviceSummary) -> Place:
    edit = device.edit
    return Place(
        name=device.name,
        system=device.device["system"],
        processor=device.device["chip"] or "-",
        engine=f"{device.engine['name']} {device.engine['version']}, {device.engine['unit']}",
        threads=device.threads,
        peak_mb=device.peak_mb,
        graphs={
            name: Times(graph.p50_ms, graph.p95_ms, graph.times_ms, graph.cold_ms, graph.warm_ms)
            for name, graph in device.graphs.items()
        },
        edit=None if edit is None else Times(edit.p50_ms, edit.p95_ms, edit.times_ms),
        steps_ms=() if edit is None else edit.steps_p50_ms,
        denoiser_runs=0 if edit is None else edit.denoiser_runs,
        selftest="ok" if device.selftest.ok else "FAILED",
        celsius=device.throttling.celsius,
        device=device,
    )
