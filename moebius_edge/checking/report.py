"""Hold what `verify` found as plain values, and find which of it is below the needed."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from moebius_edge.checking.capsule import FEATHER_PIXELS
from moebius_edge.precisions import Thresholds

DB_CAP = 200.0  # reported for identical arrays, whose dB are infinite: JSON has no infinity
RING_PIXELS = 16  # the ring around the hole: pixels outside the mask, at most so far from it


@dataclass(frozen=True)
class Difference:
    """How far an array is from the reference's."""

    max_abs: float | None  # largest absolute error; None: the array has NaN or Inf
    db: float  # -DB_CAP to DB_CAP; -DB_CAP also for NaN and Inf


@dataclass(frozen=True)
class StepReport:
    """What was found of one step of the loop."""

    timestep: int
    noise_db: float  # teacher-forced: the guided noise from the reference's latents
    latents_db: float | None = None  # free-running: the latents after this step; None: the loop broke off


@dataclass(frozen=True)
class GuidanceReport:
    """How guidance acts at one step, in the runtime and in the reference.

    d is the conditional minus the unconditional noise.
    """

    timestep: int
    ratio: float | None  # std of the runtime's d / std of the reference's; None: the reference's d is zero
    correlation: float | None  # of the two d; near -1: the branches are swapped; None: one d is zero
    finite: bool = True  # False: the runtime gave NaN or Inf


@dataclass(frozen=True)
class ImageReport:
    """The finished edit of the capsule's photo against the reference's."""

    hole_db: float | None = None  # None: the loop broke off
    ring_db: float | None = None
    outside_identical: bool = False  # every pixel farther than the feather from the mask is the photo's
    outside_changed: int | None = None  # how many are not
    ring_pixels: int = RING_PIXELS
    feather_pixels: int = FEATHER_PIXELS


@dataclass(frozen=True)
class ReferenceReport:
    """Whether the FP32 reference was run again, here, and agrees with what the capsule recorded."""

    done: bool
    note: str  # why not, when it was not
    graphs: dict[str, Difference] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """Everything `verify` measured, and which of it is below the needed."""

    bundle: str  # name of the folder
    runtime: str
    precision: str
    thresholds: Thresholds
    graphs: dict[str, Difference]  # teacher-forced; the worst output, for the denoiser the worst step
    steps: tuple[StepReport, ...]
    guidance: dict[str, GuidanceReport]  # "first" and "last" step
    image: ImageReport
    reference: ReferenceReport
    failures: tuple[str, ...]  # one sentence each: the number, what it is, what it had to be

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return not self.failures

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain values for `json.dumps`, without NaN or infinity."""
        return {"ok": self.ok, **asdict(self)}


def below(report: Report, broken: str) -> Iterator[str]:
    """Yield one sentence for each number that is below its threshold.

    `broken` is what broke off the edit, or "".
    """
    needed, precision = report.thresholds, report.precision

    def db(name: str, value: float | None, threshold: float, hint: str = "") -> Iterator[str]:
        if value is not None and not value >= threshold:
            yield f"{name} is {value:.1f} dB; {precision} needs {threshold:g} or more{hint}"

    for name, graph in report.graphs.items():
        hint = " (NaN or Inf)" if graph.max_abs is None else ""
        yield from db(f"graphs.{name}.db", graph.db, needed.graph_db(name), hint)
    for number, step in enumerate(report.steps, 1):
        yield from db(f"steps.{number}.latents_db", step.latents_db, needed.latents_db)
    for name, guidance in report.guidance.items():
        yield from _below_guidance(name, guidance, needed)
    yield from db("image.hole_db", report.image.hole_db, needed.hole_db)
    yield from db("image.ring_db", report.image.ring_db, needed.ring_db)
    if broken:
        yield f"image: the edit broke off: {broken}"
    elif not report.image.outside_identical:
        yield (
            f"image.outside_identical is false: {report.image.outside_changed} pixels farther than "
            f"{report.image.feather_pixels} from the mask are not the photo's"
        )
    for name, graph in report.reference.graphs.items():
        stale = ": the capsule is not what this reference computes; export the bundle again"
        yield from db(f"reference.graphs.{name}.db", graph.db, needed.graph_db(name), stale)


def _below_guidance(name: str, guidance: GuidanceReport, needed: Thresholds) -> Iterator[str]:
    ratio, correlation = guidance.ratio, guidance.correlation
    if not guidance.finite:
        yield f"guidance.{name}: a branch has NaN or Inf"
    if ratio is not None and not abs(ratio - 1) <= needed.ratio:
        hint = ": guidance does nothing" if ratio < 0.01 else ""
        yield f"guidance.{name}.ratio is {ratio:.4f}; expected 1 within {needed.ratio:g}{hint}"
    if correlation is not None and not correlation >= needed.correlation:
        hint = ": conditional and unconditional are swapped" if correlation < -0.9 else ""
        found = f"guidance.{name}.correlation is {correlation:.4f}"
        yield f"{found}; expected {needed.correlation:g} or more{hint}"
