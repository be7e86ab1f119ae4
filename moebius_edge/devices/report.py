"""Read what an app measured on a device: the JSON of docs/devices.md, strictly checked.

The file comes from a phone, from a browser or by mail: every field and every number is checked before
anything is shown, and a profile of other files than the bundle's is refused.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from moebius_edge.bundle.folder import Bundle
from moebius_edge.bundle.manifest import GRAPH_NAMES
from moebius_edge.bundle.proofs import files_sha256
from moebius_edge.common import strictjson
from moebius_edge.common.errors import InvalidInput
from moebius_edge.common.files import plain_size
from moebius_edge.packaging.platforms import DEVICES, PLATFORMS, SELF_TEST_DB

FORMAT = "moebius-edge-device-profile-1"
MAX_BYTES = 1 << 20
MAX_RUNS = 10_000  # timed runs of a graph, edits, and steps of an edit
MAX_MS = 1e8  # a day
MAX_MEMORY = 1 << 44  # 16 TB
MAX_TEXT = 200  # characters of a name
ENGINES = tuple(sorted({name for row in PLATFORMS.values() for name in row.engines}))
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Device:
    """What the app ran on."""

    platform: str  # of DEVICES
    model: str
    system: str
    chip: str  # empty where the system does not say

    def __post_init__(self) -> None:
        _one_of("platform", self.platform, sorted(DEVICES))
        _names(model=self.model, system=self.system)
        _require(len(self.chip) <= MAX_TEXT, f"chip has more than {MAX_TEXT} characters")


@dataclass(frozen=True)
class Engine:
    """What computed there."""

    name: str  # of ENGINES
    version: str
    unit: str  # "cpu", "xnnpack", "cpuAndNeuralEngine", "webgpu", ...

    def __post_init__(self) -> None:
        _one_of("name", self.name, ENGINES)
        _names(version=self.version, unit=self.unit)


@dataclass(frozen=True)
class Subject:
    """Which bundle was measured, as the package's app.json says."""

    model: str
    precision: str
    files_sha256: str  # of `moebius_edge.bundle.proofs.files_sha256`

    def __post_init__(self) -> None:
        _names(model=self.model, precision=self.precision)
        _require(_SHA256.fullmatch(self.files_sha256), "files_sha256 must be 64 hex digits")


@dataclass(frozen=True)
class LoadTimes:
    """The time to open one graph and run it once, minus the time of a usual run."""

    cold: float  # ms, the first time in this installation
    warm: float  # ms, again later in the same process

    def __post_init__(self) -> None:
        _times("loading", (self.cold, self.warm))


@dataclass(frozen=True)
class Edit:
    """One whole edit, photo to photo."""

    total_ms: float
    steps_ms: tuple[float, ...]  # each run of the denoiser, in order

    def __post_init__(self) -> None:
        _times("an edit", (self.total_ms,))
        _times("the steps of an edit", self.steps_ms)
        _require(
            sum(self.steps_ms) <= 1.001 * self.total_ms + 1,
            f"the steps take {sum(self.steps_ms):.1f} ms, and their whole edit {self.total_ms:.1f}",
        )


@dataclass(frozen=True)
class Temperature:
    """How warm the device was."""

    after_ms: float  # since the first edit began
    celsius: float | None
    state: str | None  # the system's own word

    def __post_init__(self) -> None:
        _require(0 <= self.after_ms <= MAX_MS, f"after_ms is {self.after_ms:g}; expected 0 to {MAX_MS:g}")
        _require(
            self.celsius is None or -60 <= self.celsius <= 200, f"{self.celsius} degrees Celsius cannot be"
        )
        if self.state is not None:
            _names(state=self.state)


@dataclass(frozen=True)
class SelfTest:
    """The capsule, replayed there; dB as `verify` has them. None: not measured, or the loop broke off."""

    encoder_db: float | None
    denoiser_db: float | None
    decoder_db: float | None
    hole_db: float | None
    ok: bool

    def __post_init__(self) -> None:
        for value in self.values():
            _require(value is None or -200 <= value <= 200, f"{value} dB cannot be: -200 to 200 can")
        _require(not self.ok or None not in self.values(), "ok is true, and a number is missing")

    def values(self) -> tuple[float | None, ...]:
        """Return the dB of encoder, denoiser, decoder and hole."""
        return self.encoder_db, self.denoiser_db, self.decoder_db, self.hole_db


@dataclass(frozen=True)
class DeviceProfile:
    """The whole file. Times are milliseconds of a monotonic clock, in the order they were taken."""

    format: str
    device: Device
    engine: Engine
    threads: int | None
    bundle: Subject
    load_ms: dict[str, LoadTimes]
    graphs_ms: dict[str, tuple[float, ...]]
    edits: tuple[Edit, ...]
    temperature: tuple[Temperature, ...]  # before the first edit and after each; empty: the app cannot tell
    peak_memory_bytes: int | None
    selftest: SelfTest

    def __post_init__(self) -> None:
        _require(self.threads is None or 1 <= self.threads <= 1024, f"threads is {self.threads}")
        for name, table in (("load_ms", self.load_ms), ("graphs_ms", self.graphs_ms)):
            _require(set(table) == set(GRAPH_NAMES), f"{name} must have exactly {', '.join(GRAPH_NAMES)}")
        for name, times in self.graphs_ms.items():
            _times(f"graphs_ms.{name}", times)
        _require(len(self.edits) <= MAX_RUNS, f"it has more than {MAX_RUNS} edits")
        _require(
            len({len(edit.steps_ms) for edit in self.edits}) <= 1, "edits have different numbers of steps"
        )
        _require(
            len(self.temperature) in (0, len(self.edits) + 1),
            f"temperature has {len(self.temperature)} entries for {len(self.edits)} edits; expected one "
            "before the first edit and one after each, or none",
        )
        after = [entry.after_ms for entry in self.temperature]
        _require(all(a <= b for a, b in pairwise(after)), "temperature.after_ms must not fall")
        peak = self.peak_memory_bytes
        _require(peak is None or 0 < peak <= MAX_MEMORY, f"peak_memory_bytes is {peak}")


def read(path: Path, bundle: Bundle) -> DeviceProfile:
    """Read the profile of `bundle` in a file. Raises InvalidInput for anything else."""
    try:
        if plain_size(path) > MAX_BYTES:
            raise InvalidInput(
                f"{path} has more than {MAX_BYTES:,} bytes; expected the JSON of a device profile"
            )
        return parse(path.read_bytes(), bundle, str(path))
    except OSError as error:
        raise InvalidInput(f"cannot read {path}: {error.strerror or error}") from None


def parse(data: bytes, bundle: Bundle, where: str) -> DeviceProfile:
    """Read the profile of `bundle` from the bytes of its JSON; `where` names their origin in messages.

    Raises InvalidInput for anything else, and for the profile of another bundle.
    """
    try:
        value = strictjson.loads(data, MAX_BYTES)
        if not isinstance(value, dict) or value.get("format") != FORMAT:
            raise strictjson.JSONError(f'it does not say "format": "{FORMAT}"')
        found = strictjson.decode(DeviceProfile, value, "profile")
    except strictjson.JSONError as error:
        raise InvalidInput(
            f"{where} is no device profile: {error}; let the app of `moebius-edge package` write one"
        ) from None
    _check_subject(found, bundle, where)
    return found


def _check_subject(found: DeviceProfile, bundle: Bundle, where: str) -> None:
    manifest, subject = bundle.manifest, found.bundle
    if subject.files_sha256 != files_sha256(manifest.files):
        raise InvalidInput(
            f"{where} was measured with other files ({subject.model} {subject.precision}) than those of "
            f"{bundle.folder.name}; give the bundle that the app was packaged from, or package this one"
        )
    if (subject.model, subject.precision) != (manifest.model.name, manifest.precision):
        raise InvalidInput(
            f"{where} says {subject.model} {subject.precision}; {bundle.folder.name} is "
            f"{manifest.model.name} {manifest.precision}"
        )
    needed = DEVICES[found.device.platform].thresholds(manifest)
    low = [
        f"{value:g} dB where {needed[name]:g} are needed"
        for name, value in zip(SELF_TEST_DB, found.selftest.values(), strict=True)
        if value is not None and value < needed[name]
    ]
    if found.selftest.ok and low:
        raise InvalidInput(f"{where} says that the self-test passed, with {', '.join(low)}")


def _require(condition: object, message: str) -> None:
    if not condition:
        raise ValueError(message)


def _one_of(field: str, value: str, known: Sequence[str]) -> None:
    _require(value in known, f"{field} is {value[:40]!r}; expected {', '.join(known)}")


def _names(**fields: str) -> None:
    for field, value in fields.items():
        _require(0 < len(value) <= MAX_TEXT, f"{field} must have 1 to {MAX_TEXT} characters")


def _times(what: str, times: Sequence[float]) -> None:
    _require(1 <= len(times) <= MAX_RUNS, f"{what} has {len(times)} times; expected 1 to {MAX_RUNS}")
    _require(all(0 <= time <= MAX_MS for time in times), f"{what} must take 0 to {MAX_MS:g} ms")
