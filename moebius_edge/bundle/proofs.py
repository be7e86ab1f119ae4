"""Proofs: what `verify` and a clock found on a machine where a bundle runs, kept in the bundle's manifest.

A Mac, an iPhone or an edge box proves what the machine that made the bundle cannot: each compute unit of the
engine replays the self-test and is timed. The JSON of a proof names the files it was measured on, so it can
come back to any copy of the same bundle, and to no other.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from moebius_edge.common import strictjson
from moebius_edge.common.errors import InvalidInput
from moebius_edge.common.files import plain_size

FORMAT = "moebius-edge-proof-1"
MAX_BYTES = 1 << 15  # a proof of four units has 3 kB
MAX_PROOFS = 16  # in a manifest, which has room for so many of the largest
MAX_MS = 1e8  # a day
MAX_RUNS = 1000
NAME = re.compile(r"[A-Za-z0-9_-]{1,40}")


@dataclass(frozen=True)
class GraphProof:
    """What was measured of one graph on one compute unit.

    Raises ValueError for numbers that cannot be.
    """

    db: float  # against the FP32 reference, on the reference's inputs; the denoiser's worst step
    p50_ms: float
    p95_ms: float
    load_ms: float | None  # the first run minus p50
    devices: dict[str, int]  # operators by the device that the engine prefers; empty: it does not say

    def __post_init__(self) -> None:
        times = (self.p50_ms, self.p95_ms, self.load_ms or 0.0)
        if not (-200 <= self.db <= 200 and all(0 <= time <= MAX_MS for time in times)):
            raise ValueError(f"{self.db:g} dB in {times} ms cannot be")
        if self.p50_ms > self.p95_ms or any(count < 0 for count in self.devices.values()):
            raise ValueError(f"p50 {self.p50_ms:g}, p95 {self.p95_ms:g}, devices {self.devices} cannot be")


@dataclass(frozen=True)
class UnitProof:
    """What `verify` says of one compute unit of the engine, and times.

    Raises ValueError when it contradicts itself or has a name that is none.
    """

    unit: str  # "CPU_AND_NE"; "default" where the engine has no choice
    ok: bool
    failures: tuple[str, ...]  # numbers below their thresholds, or why the unit cannot run the bundle
    hole_db: float | None  # of the finished picture, inside the hole
    graphs: dict[str, GraphProof]  # encoder, denoiser, decoder; empty where it cannot run

    def __post_init__(self) -> None:
        if self.ok and (self.failures or sorted(self.graphs) != ["decoder", "denoiser", "encoder"]):
            raise ValueError(f"{self.unit[:40]!r} is said to be ok without all three graphs")
        if (self.ok and self.hole_db is None) or not -200 <= (self.hole_db or 0.0) <= 200:
            raise ValueError(f"{self.unit[:40]!r} is said to have {self.hole_db} dB in the hole")
        devices = [device for graph in self.graphs.values() for device in graph.devices]
        for name in (self.unit, *self.graphs, *devices):
            if not NAME.fullmatch(name):
                raise ValueError(f"{name[:40]!r} is no name of a unit, a graph or a device")


@dataclass(frozen=True)
class Proof:
    """What was found on one machine.

    Raises ValueError for an impossible number of runs and for a machine without system and processor.
    """

    files_sha256: str  # of `files_sha256`: which graphs were run
    runtime: str  # "coreml"
    precision: str
    machine: dict[str, str]  # of `machine.machine`: "system", "processor" and more
    versions: dict[str, str]  # of the engine and of moebius-edge
    runs: int  # timed runs of each graph
    units: tuple[UnitProof, ...]
    format: str = FORMAT

    def __post_init__(self) -> None:
        if not 1 <= self.runs <= MAX_RUNS:
            raise ValueError(f"runs is {self.runs}; expected 1 to {MAX_RUNS}")
        if missing := {"system", "processor"} - self.machine.keys():
            raise ValueError(f"machine lacks {sorted(missing)}")

    @property
    def ok(self) -> bool:
        """Whether at least one compute unit passed."""
        return any(unit.ok for unit in self.units)

    def to_json(self) -> dict[str, Any]:
        """Return the proof as plain values for `json.dumps`."""
        return {"ok": self.ok, **asdict(self)}


def files_sha256(files: Mapping[str, Any]) -> str:
    """Return the SHA-256 over the names and SHA-256s of a manifest's `files`, sorted by name."""
    listing = "".join(f"{name} {files[name].sha256}\n" for name in sorted(files))
    return hashlib.sha256(listing.encode()).hexdigest()


def read(path: Path) -> Proof:
    """Read a proof from its JSON file. Raises InvalidInput for anything else."""
    try:
        if plain_size(path) > MAX_BYTES:
            raise InvalidInput(f"{path} has more than {MAX_BYTES:,} bytes; expected the JSON of a proof")
        value = strictjson.loads(path.read_bytes(), MAX_BYTES)
        if not isinstance(value, dict) or value.get("format") != FORMAT:
            raise strictjson.JSONError(f'it does not say "format": "{FORMAT}"')
        value.pop("ok", None)  # follows from the units
        found: Proof = strictjson.decode(Proof, value, "proof")
    except strictjson.JSONError as error:
        raise InvalidInput(f"{path} is no proof: {error}; write one with `moebius-edge prove`") from None
    except OSError as error:
        raise InvalidInput(f"cannot read {path}: {error.strerror or error}") from None
    return found
