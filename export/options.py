"""What to make of a checkpoint. Imports no torch, so that a wrong option is refused at once."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from moebius_edge.calibration.activations.data import CalibrationOptions
from moebius_edge.calibration.activations.observers import OBSERVERS
from moebius_edge.calibration.int8.mixed import check_target
from moebius_edge.common.errors import CalibrationError, ExportError
from moebius_edge.export.targets.registry import find_target, targets
from moebius_edge.inpaint.known_solvers import known_solvers
from moebius_edge.photos.reading import photo_files
from moebius_edge.precisions import OBSERVER, PRECISIONS, TARGET_DB, having

DEFAULT_TARGET = "ort"
GRAPH_KINDS = ("deploy", "direct")  # with the exact rewrites; the plain export, for comparison


@dataclass(frozen=True)
class ExportOptions:
    """What to make of a checkpoint. Raises ExportError for what is not known."""

    target: str = DEFAULT_TARGET  # a name of `targets()`
    precision: str = "fp32"  # one of the target's precisions
    graph: str = "deploy"  # one of GRAPH_KINDS
    observer: str = OBSERVER  # how ranges are read off what calibration saw: a name of `OBSERVERS`
    calibration: CalibrationOptions = field(default_factory=CalibrationOptions)  # run without a recording
    images: Path | None = None  # photos to calibrate with; None: those in the package
    target_db: float = TARGET_DB  # of a search: finished pictures against FP32's
    solver: str = "ddim"  # whose table the manifest lists: a name of `known_solvers`
    settings: Mapping[str, str] = field(default_factory=dict)  # of the target, by name; the rest is default

    def __post_init__(self) -> None:
        known = find_target(self.target).precisions
        if self.precision not in known:
            raise ExportError(
                f"the target {self.target} has no precision {self.precision!r}; it has {', '.join(known)}"
            )
        if self.graph not in GRAPH_KINDS:
            raise ExportError(f"graph is {self.graph!r}; expected {' or '.join(GRAPH_KINDS)}")
        if self.graph == "direct" and self.precision != "fp32":
            raise ExportError(f"direct graphs are there to compare with, in fp32; not in {self.precision}")
        if self.observer not in OBSERVERS:
            raise ExportError(f"there is no observer {self.observer!r}; observers are {', '.join(OBSERVERS)}")
        if self.solver not in known_solvers():
            raise ExportError(f"there is no solver {self.solver!r}; solvers are {', '.join(known_solvers())}")
        check_target(self.target_db)
        self._check_settings()
        if self.images is not None:
            photo_files(
                self.images, CalibrationError
            )  # raises for a folder without photos, before anything takes time

    def _check_settings(self) -> None:
        target = find_target(self.target)
        possible = target.possible(self.precision)
        for name, value in self.settings.items():
            if name not in possible:
                others = [each for each in target.precisions if name in target.possible(each)]
                why = (
                    f"only {', '.join(others)} have it"
                    if others
                    else f"it has {', '.join(possible) or 'none'}"
                )
                raise ExportError(f"{self.target} in {self.precision} has no setting {name!r:.80}; {why}")
            if value not in possible[name]:
                first, *rest = possible[name]
                expected = ", ".join(sorted(rest))
                raise ExportError(
                    f"{name} is {value!r:.80}; {self.precision} takes {first}"
                    + (f" (the default), {expected}" if rest else " alone")
                )

    def all_settings(self) -> dict[str, str]:
        """Return what was set, and the target's defaults."""
        possible = find_target(self.target).possible(self.precision)
        return {name: self.settings.get(name, values[0]) for name, values in possible.items()}

    @property
    def half(self) -> bool:
        """Whether what INT8 leaves as floats is float16."""
        return self.all_settings().get("floats") == "float16"

    @property
    def autoencoder(self) -> str | None:
        """The precision of encoder and decoder where it is a setting of its own."""
        return self.all_settings().get("autoencoder")

    @property
    def halves(self) -> bool:
        """Whether floats become float16, whose range is small: they are looked at first."""
        return self.half or self.autoencoder == "fp16"

    @property
    def graph_precision(self) -> str:
        """The precision of the ONNX graphs: the target makes the rest of it."""
        return find_target(self.target).graphs_of(self.precision)


def default_precision(target: str) -> str:
    """Return what a target is exported in when nobody says; "fp32" for one that is not known."""
    row = targets().get(target)
    return row.default if row else "fp32"


def parse_settings(given: Iterable[str]) -> dict[str, str]:
    """Read settings as they are typed, NAME=VALUE. Raises ExportError for one that is not, or given twice."""
    settings = dict[str, str]()
    for text in given:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise ExportError(f"the setting {text!r:.80} is not NAME=VALUE, like deployment=iOS18")
        if name in settings:
            raise ExportError(f"the setting {name:.80} is given twice: {settings[name]:.80} and {value:.80}")
        settings[name] = value
    return settings


def check_used(options: ExportOptions, *, recording: bool, ledger: bool) -> None:
    """Raise ExportError when something is given to a precision that ignores it."""
    precision, name, usual = PRECISIONS[options.graph_precision], options.precision, ExportOptions()
    calibrated, searched = " or ".join(having("calibrated")), " or ".join(having("searched"))
    if options.observer != usual.observer and not precision.calibrated:
        raise ExportError(f"{name} reads no ranges with an observer; leave it away, or choose {calibrated}")
    if options.target_db != usual.target_db and not precision.searched:
        raise ExportError(f"{name} has no target in dB; leave it away, or choose {searched}")
    if recording and not precision.calibrated:
        raise ExportError(f"{name} uses no calibration; leave it away, or choose {calibrated}")
    if ledger and not precision.searched:
        raise ExportError(f"{name} uses no ledger; leave it away, or choose {searched}")
    if options.images is not None and not precision.follows(recorded=recording, halves=options.halves):
        why = "with a finished calibration it" if precision.calibrated else name
        raise ExportError(f"{why} uses no calibration photos; leave one of the two away")
