"""Measure how fast a bundle is here, alone or against another one, and how much memory it takes.

Two bundles are timed in pairs, one run of each, the order changing from pair to pair: a machine that grows
hot or busy slows both. The ratio is the median over the pairs of (time of B / time of A). One graph of each
bundle is loaded at a time.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from moebius_edge.bundle.folder import Bundle
from moebius_edge.bundle.manifest import GRAPH_NAMES
from moebius_edge.checking import capsule
from moebius_edge.checking.efficiency import PUBLISHED, EfficiencyRow, note, row
from moebius_edge.checking.first_run import FirstRun, graph_inputs, measure_first_run
from moebius_edge.common.errors import InvalidInput
from moebius_edge.common.machine import check_threads, cores, machine
from moebius_edge.common.progress import Tick
from moebius_edge.common.tensors import Array
from moebius_edge.common.timing import BUSY, Side, interleave, median_ratio, spread, summary
from moebius_edge.inpaint.runtime import Runtime
from moebius_edge.inpainter import Inpainter
from moebius_edge.runtimes import open_runtime

MAX_RUNS = 10_000


@dataclass(frozen=True)
class ProfileOptions:
    """What to measure. Raises InvalidInput when a value is out of range."""

    graphs: tuple[str, ...] = GRAPH_NAMES  # a whole edit is measured only with all three
    runs: int = 10  # timed runs of each graph, after one that is not counted
    edits: int = 3  # timed whole edits, after one that is not counted; 0 = none
    steps: int | None = None  # steps of a whole edit; None: the bundle's default
    runtime: str | None = None  # None: each bundle's own
    threads: int | None = None  # CPU threads; None: one per core

    def __post_init__(self) -> None:
        for graph in self.graphs:
            if graph not in GRAPH_NAMES:
                raise InvalidInput(f"there is no graph {graph!r}; graphs are {', '.join(GRAPH_NAMES)}")
        if not self.graphs:
            raise InvalidInput("no graph is to be measured; name one or leave the option out")
        if not 1 <= self.runs <= MAX_RUNS or not 0 <= self.edits <= MAX_RUNS:
            raise InvalidInput(
                f"runs is {self.runs} and edits {self.edits}; expected 1 to {MAX_RUNS} runs and 0 to "
                f"{MAX_RUNS} edits"
            )
        if self.steps is not None and self.steps < 1:
            raise InvalidInput(f"steps is {self.steps}; expected 1 or more, or none for the bundle's default")
        check_threads(self.threads)


@dataclass(frozen=True)
class Timing:
    """The times of one graph."""

    p50_ms: float  # of the bundle
    p95_ms: float
    load_ms: float | None
    ratio: float | None  # time of the other bundle / time of the bundle, median over the pairs
    gmacs: float | None  # 10^9 multiply-accumulates of one run
    times_ms: tuple[float, ...]
    against: Side | None


@dataclass(frozen=True)
class EditTiming:
    """Whole edits through `Inpainter`: loading the graphs, the encode, the steps, one decode, the paste."""

    steps: int
    denoiser_runs: int
    p50_ms: float
    p95_ms: float
    ratio: float | None
    times_ms: tuple[float, ...]
    against: Side | None


@dataclass(frozen=True)
class Subject:
    """One of the bundles that were measured."""

    name: str
    model: str
    target: str
    precision: str
    graph: str
    runtime: str
    resolution: int
    megabytes: float  # of all its files, in 10^6 bytes
    peak_mb: float | None  # largest resident memory of a fresh process, in 10^6 bytes


@dataclass(frozen=True)
class Profile:
    """Everything `profile` measured."""

    bundle: Subject
    against: Subject | None
    graphs: dict[str, Timing]
    edit: EditTiming | None  # None: not all graphs were measured, or `edits` was 0
    memory: str  # what was run for the peaks
    runs: int
    threads: int
    machine: dict[str, str]
    efficiency: tuple[EfficiencyRow, ...]
    efficiency_note: str
    busy: tuple[str, ...]  # graphs, and "edit", whose repetitions differ so much that something else ran

    def to_json(self) -> dict[str, Any]:
        """Return the profile as plain values for `json.dumps`, without NaN or infinity."""
        return asdict(self)


@dataclass
class _Contestant:
    bundle: Bundle
    runtime: Runtime
    tensors: dict[str, Array]
    first_run: FirstRun


def profile(
    bundle: Bundle,
    against: Bundle | None = None,
    options: ProfileOptions = ProfileOptions(),
    progress: Tick | None = None,
) -> Profile:
    """Measure `bundle`, and `against` in turns with it.

    `progress(done, total)` counts runs. Raises RuntimeUnavailable when an engine cannot run, BundleError for
    a capsule that cannot be used.

    >>> from moebius_edge import Bundle, profile
    >>> from moebius_edge.checking.profile import ProfileOptions
    >>> options = ProfileOptions(graphs=("encoder", "decoder"), runs=3)
    >>> measured = profile(Bundle.open("small.moebius"), options=options)
    >>> measured.graphs["encoder"].p50_ms > 0, len(measured.graphs["decoder"].times_ms)
    (True, 3)
    >>> measured.bundle.precision, measured.bundle.runtime, measured.memory
    ('fp32', 'onnxruntime', 'one run of each of: encoder, decoder')
    """
    bundles = [bundle] if against is None else [bundle, against]
    complete = set(options.graphs) == set(GRAPH_NAMES)
    whole = complete and options.edits > 0
    each = len(options.graphs) * (options.runs + 1) + (options.edits + 1 if whole else 0) + 1
    tick = _counter(progress, len(bundles) * each)
    contestants = [_prepare(one, options, tick) for one in bundles]
    graphs = {
        graph: _time_graph(graph, contestants, options.runs, tick)
        for graph in GRAPH_NAMES
        if graph in options.graphs
    }
    edit = _time_edit(contestants, options, tick) if whole else None
    subjects = [_subject(contestant) for contestant in contestants]
    rows = _efficiency(contestants, graphs)
    return Profile(
        bundle=subjects[0],
        against=subjects[1] if against is not None else None,
        graphs=graphs,
        edit=edit,
        memory="one whole edit" if complete else f"one run of each of: {', '.join(graphs)}",
        runs=options.runs,
        threads=options.threads or cores(),
        machine=machine(),
        efficiency=(*rows, *PUBLISHED),
        efficiency_note=note(rows),
        busy=busy_names(graphs, edit),
    )


def _prepare(bundle: Bundle, options: ProfileOptions, tick: Callable[[], None]) -> _Contestant:
    manifest = bundle.manifest
    tensors = capsule.checked(bundle.capsule(), manifest.resolution, manifest.latent_size)
    first = measure_first_run(bundle, options.graphs, options.runtime, options.threads)
    tick()
    return _Contestant(bundle, open_runtime(bundle, options.runtime, options.threads), tensors, first)


def _time_graph(
    graph: str, contestants: Sequence[_Contestant], runs: int, tick: Callable[[], None]
) -> Timing:
    def once(contestant: _Contestant) -> Callable[[], object]:
        inputs: Mapping[str, Array] = graph_inputs(contestant.tensors)[graph]
        return lambda: contestant.runtime.run(graph, inputs)

    times = interleave([once(contestant) for contestant in contestants], runs, tick)
    sides = []
    for contestant, series in zip(contestants, times, strict=True):
        contestant.runtime.release(graph)
        sides.append(summary(series, contestant.first_run.first_run_ms[graph]))
    first = sides[0]
    macs = contestants[0].bundle.manifest.graphs[graph].macs
    return Timing(
        p50_ms=first.p50_ms,
        p95_ms=first.p95_ms,
        load_ms=first.load_ms,
        ratio=median_ratio(times),
        gmacs=None if macs is None else macs / 1e9,
        times_ms=first.times_ms,
        against=sides[1] if len(sides) > 1 else None,
    )


def _time_edit(
    contestants: Sequence[_Contestant], options: ProfileOptions, tick: Callable[[], None]
) -> EditTiming:
    defaults = contestants[0].bundle.manifest.defaults
    steps = options.steps or defaults.steps
    inpainters = [Inpainter.of(contestant.bundle.manifest, contestant.runtime) for contestant in contestants]

    def once(index: int) -> Callable[[], object]:
        photo, mask = contestants[index].tensors["photo"], contestants[index].tensors["mask"]
        return lambda: inpainters[index](photo, mask, steps=steps, strength=defaults.strength)

    times = interleave([once(index) for index in range(len(contestants))], options.edits, tick)
    sides = [summary(series) for series in times]
    first = sides[0]
    return EditTiming(
        steps=steps,
        denoiser_runs=len(inpainters[0].solver.timesteps(steps, defaults.strength)),
        p50_ms=first.p50_ms,
        p95_ms=first.p95_ms,
        ratio=median_ratio(times),
        times_ms=first.times_ms,
        against=sides[1] if len(sides) > 1 else None,
    )


def _subject(contestant: _Contestant) -> Subject:
    manifest = contestant.bundle.manifest
    return Subject(
        name=contestant.bundle.folder.resolve().name,
        model=manifest.model.name,
        target=manifest.target,
        precision=manifest.precision,
        graph=manifest.graph,
        runtime=contestant.runtime.name,
        resolution=manifest.resolution,
        megabytes=round(manifest.total_bytes / 1e6, 1),
        peak_mb=contestant.first_run.peak_mb,
    )


def _efficiency(
    contestants: Sequence[_Contestant], graphs: Mapping[str, Timing]
) -> tuple[EfficiencyRow, ...]:
    rows = []
    timing = graphs.get("denoiser")
    for index, contestant in enumerate(contestants):
        manifest = contestant.bundle.manifest
        side: Timing | Side | None = timing
        if timing is not None and index == 1:
            side = timing.against
        rows.append(
            row(
                contestant.bundle.folder.resolve().name,
                manifest.model.parameters,
                manifest.graphs["denoiser"].macs,
                None if side is None else side.p50_ms,
                len(manifest.scheduler.coefficients),
            )
        )
    return tuple(rows)


def busy_names(graphs: Mapping[str, Timing], edit: EditTiming | None) -> tuple[str, ...]:
    """Return the names of the timings whose slowest repetitions took more than BUSY times the median."""
    timings: dict[str, Timing | EditTiming] = {**graphs}
    if edit is not None:
        timings["edit"] = edit
    return tuple(
        name
        for name, timing in timings.items()
        if any(
            spread(side) > BUSY for side in (Side(timing.p50_ms, timing.p95_ms, ()), timing.against) if side
        )
    )


def _counter(progress: Tick | None, total: int) -> Callable[[], None]:
    done = 0

    def tick() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    return tick
