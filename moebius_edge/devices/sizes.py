"""Collect the sizes of bundles and how close they are to the reference, from every source."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from moebius_edge.bundle.folder import Bundle
from moebius_edge.bundle.manifest import GRAPH_NAMES
from moebius_edge.bundle.proofs import UnitProof
from moebius_edge.checking.verify import verify
from moebius_edge.common.explain import printable
from moebius_edge.devices.summary import DeviceSummary
from moebius_edge.runtimes import open_runtime

NOTHING = "not measured: --verify-db does"


@dataclass(frozen=True)
class Closeness:
    """dB of one bundle against its FP32 reference, as `verify` has them, and where they were found."""

    found: str
    encoder_db: float | None = None
    denoiser_db: float | None = None
    decoder_db: float | None = None
    hole_db: float | None = None

    def values(self) -> tuple[float | None, ...]:
        """Return the dB of encoder, denoiser, decoder and hole."""
        return self.encoder_db, self.denoiser_db, self.decoder_db, self.hole_db


@dataclass(frozen=True)
class SizeRow:
    """The sizes and closeness of one bundle."""

    name: str
    model: str
    precision: str
    target: str
    megabytes: float  # of all its files, in 10^6 bytes
    graphs_mb: dict[str, float]  # of each graph with its weights
    closeness: tuple[Closeness, ...]  # each that is known; one without numbers where there is none

    def to_json(self) -> dict[str, Any]:
        """Return plain values for `json.dumps`."""
        return asdict(self)


def size_row(
    bundle: Bundle, devices: Sequence[DeviceSummary] = (), *, replay: bool = False, threads: int | None = None
) -> SizeRow:
    """Return sizes from the manifest, and dB from its proofs and from `devices`, profiles of this bundle.

    `replay`: also from `verify`, run here by the bundle's own runtime. Raises RuntimeUnavailable when that
    cannot run here, BundleError for a capsule that cannot be used.
    """
    manifest = bundle.manifest
    known = [*_proven(bundle), *(_tested(device) for device in devices)]
    if replay:
        known.insert(0, _replayed(bundle, threads))
    return SizeRow(
        name=printable(bundle.folder.resolve().name),
        model=manifest.model.name,
        precision=manifest.precision,
        target=manifest.target,
        megabytes=round(manifest.total_bytes / 1e6, 1),
        graphs_mb={name: round(bundle.graph_bytes(name) / 1e6, 1) for name in GRAPH_NAMES},
        closeness=tuple(known) or (Closeness(NOTHING),),
    )


def _replayed(bundle: Bundle, threads: int | None) -> Closeness:
    report = verify(bundle, open_runtime(bundle, None, threads))
    encoder, denoiser, decoder = (report.graphs[name].db for name in GRAPH_NAMES)
    return Closeness(f"verify, here, {report.runtime}", encoder, denoiser, decoder, report.image.hole_db)


def _tested(device: DeviceSummary) -> Closeness:
    return Closeness(f"self-test, {device.name}", *device.selftest.values())


def _proven(bundle: Bundle) -> Iterator[Closeness]:
    for proof in bundle.manifest.proofs:
        for unit in proof.units:
            if unit.graphs:
                yield Closeness(f"proof, {proof.machine['processor']}, {unit.unit}", *_unit(unit))


def _unit(unit: UnitProof) -> Iterator[float | None]:
    for name in GRAPH_NAMES:
        yield unit.graphs[name].db if name in unit.graphs else None
    yield unit.hole_db
