"""Replay and time a bundle on every compute unit of this machine, and keep what was found: `prove`."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from importlib import metadata

from moebius_edge import __version__
from moebius_edge.bundle.folder import Bundle, rewritten
from moebius_edge.bundle.manifest import GRAPH_NAMES, Manifest
from moebius_edge.bundle.proofs import MAX_PROOFS, MAX_RUNS, GraphProof, Proof, UnitProof, files_sha256
from moebius_edge.checking import capsule
from moebius_edge.checking.first_run import graph_inputs
from moebius_edge.checking.thresholds import thresholds
from moebius_edge.checking.verify import verify
from moebius_edge.common.errors import InvalidInput, RuntimeUnavailable
from moebius_edge.common.explain import printable
from moebius_edge.common.machine import machine
from moebius_edge.common.progress import Stage
from moebius_edge.common.tensors import Array
from moebius_edge.common.timing import interleave, summary
from moebius_edge.inpaint.runtime import DevicePlan, Runtime
from moebius_edge.precisions import Thresholds
from moebius_edge.runtimes import default_runtime, find_runtime, open_runtime, require_fitting, units_of


def prove(
    bundle: Bundle,
    *,
    runtime: str | None = None,
    units: Sequence[str] = (),
    runs: int = 10,
    progress: Stage | None = None,
) -> Proof:
    """Replay the self-test and time each graph `runs` times, on each of the compute units `units`.

    No `units`: all that the runtime has. `runtime` None: the bundle's own. A unit that cannot run the bundle
    is an entry with the reason. `progress(what, done, total)` counts units. Raises InvalidInput for a unit
    that the runtime does not have and impossible `runs`, RuntimeUnavailable when the runtime is not here.
    """
    if not 1 <= runs <= MAX_RUNS:
        raise InvalidInput(f"runs is {runs}; expected 1 to {MAX_RUNS}")
    name = runtime or default_runtime(bundle)
    known = units_of(name)
    for unit in units:
        if unit not in known:
            raise InvalidInput(f"the runtime {name} has no unit {unit!r}; it has {', '.join(known)}")
    open_runtime(bundle, name)  # raises before anything takes time
    versions = {"moebius-edge": __version__, **_versions(name)}
    say = progress or (lambda what, done, total: None)
    chosen = [unit for unit in known if unit in units] if units else list(known)
    found = []
    for done, unit in enumerate(chosen):
        say(f"{name}, {unit}", done, len(chosen))
        found.append(_unit(bundle, name, unit, runs))
    return Proof(
        files_sha256=files_sha256(bundle.manifest.files),
        runtime=name,
        precision=bundle.manifest.precision,
        machine=machine(),
        versions=versions,
        runs=runs,
        units=tuple(found),
    )


def _versions(runtime: str) -> dict[str, str]:
    """Return the versions of the engine's packages that are installed under their usual names."""
    found = {}
    for package in find_runtime(runtime).engines:
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def _unit(bundle: Bundle, name: str, unit: str, runs: int) -> UnitProof:
    manifest = bundle.manifest
    feeds = graph_inputs(capsule.checked(bundle.capsule(), manifest.resolution, manifest.latent_size))
    try:
        engine = open_runtime(bundle, name, unit=unit)
        report = verify(bundle, engine)
        graphs = {
            name: _graph(engine, name, feeds[name], report.graphs[name].db, runs) for name in GRAPH_NAMES
        }
    except RuntimeUnavailable as error:
        return UnitProof(unit, False, (printable(str(error))[:300],), None, {})
    return UnitProof(unit, report.ok, report.failures, report.image.hole_db, graphs)


def _graph(engine: Runtime, graph: str, inputs: Mapping[str, Array], db: float, runs: int) -> GraphProof:
    engine.release(graph)  # verify has left it loaded, or not: now it is not
    first, *rest = interleave([lambda: engine.run(graph, inputs)], runs + 1, lambda: None, warm=False)[0]
    devices = engine.devices(graph) if isinstance(engine, DevicePlan) else {}
    engine.release(graph)
    side = summary(rest, first)
    return GraphProof(db, side.p50_ms, side.p95_ms, side.load_ms, devices)


def attach(bundle: Bundle, proof: Proof) -> Bundle:
    """Keep a proof in the manifest of its bundle; one of the same machine and runtime is replaced.

    Returns the bundle, opened again. Raises InvalidInput for a proof of other files, one that contradicts
    itself and one too many, RuntimeUnavailable for one by a runtime that cannot open the bundle, BundleError
    when the manifest cannot be written.
    """

    def keep(manifest: Manifest) -> Manifest:
        if proof.files_sha256 != files_sha256(manifest.files):
            raise InvalidInput(
                f"the proof is of other files than those of {bundle.folder.name}; prove this bundle "
                "itself, or a copy of it"
            )
        if proof.precision != manifest.precision:
            raise InvalidInput(f"the proof is of {proof.precision}; the bundle is {manifest.precision}")
        require_fitting(bundle, proof.runtime)
        _require_consistent(proof, thresholds(manifest.precision, manifest.settings))
        others = [each for each in manifest.proofs if _where(each) != _where(proof)]
        if len(others) >= MAX_PROOFS:
            name = bundle.folder.resolve().name
            raise InvalidInput(f"{name} holds {len(others)} proofs already, which is the most")
        return replace(manifest, proofs=(*others, proof))

    return rewritten(bundle, keep)


def _require_consistent(proof: Proof, needed: Thresholds) -> None:
    """Raise InvalidInput for a proof that calls ok what is below a threshold, or has wrong units."""
    units = [unit.unit for unit in proof.units]
    if len(set(units)) < len(units) or not set(units) <= set(units_of(proof.runtime)):
        expected = ", ".join(units_of(proof.runtime))
        raise InvalidInput(f"the proof is of the units {units}; {proof.runtime} has {expected}, each once")
    for unit in proof.units:
        found = {name: graph.db for name, graph in unit.graphs.items()} | {"hole": unit.hole_db or 0.0}
        low = [name for name, db in found.items() if db < getattr(needed, f"{name}_db")]
        if unit.ok and low:
            raise InvalidInput(
                f"the proof says that {unit.unit} is ok, with {low[0]} at {found[low[0]]:g} dB"
            )


def _where(proof: Proof) -> tuple[str, dict[str, str]]:
    return proof.runtime, proof.machine
