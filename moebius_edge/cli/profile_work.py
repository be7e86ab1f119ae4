"""Do the work of `profile` once its options are read."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from moebius_edge.bundle.folder import Bundle, refuse_inside
from moebius_edge.bundle.manifest import GRAPH_NAMES
from moebius_edge.checking.profile import Profile, ProfileOptions
from moebius_edge.checking.profile import profile as measure_here
from moebius_edge.cli import profile_text
from moebius_edge.cli.plotting import check_plot, draw
from moebius_edge.common.errors import InvalidInput, RuntimeUnavailable
from moebius_edge.common.files import write_atomically
from moebius_edge.common.progress import progress, stages
from moebius_edge.devices.app import Wish
from moebius_edge.devices.findings import Findings
from moebius_edge.devices.kinds import KINDS, find_kind
from moebius_edge.devices.measure import measure_on_device, read_all
from moebius_edge.devices.page import render
from moebius_edge.devices.sizes import size_row
from moebius_edge.devices.steps import steps_here
from moebius_edge.devices.summary import DeviceSummary
from moebius_edge.runtimes import open_runtime


@dataclass(frozen=True)
class Request:
    """The options of the command line. Raises InvalidInput for those that contradict each other."""

    bundle: Path
    against: Path | None
    options: ProfileOptions  # of what is measured here
    local: bool
    device: str | None
    serial: str | None
    device_edits: int
    minutes: float
    save: Path | None
    imported: tuple[Path, ...]
    beside: tuple[Path, ...]
    verify_db: bool
    html: Path | None
    plot: Path | None

    def __post_init__(self) -> None:
        here = self.options
        if self.device is None and (self.serial or self.save):
            kinds = " or ".join(f"--device {name}" for name in KINDS)
            raise InvalidInput(f"--serial and --save are about a device: add {kinds}")
        if self.device is not None and not find_kind(self.device).any_steps and here.steps is not None:
            raise InvalidInput(f"the app on {self.device} runs the bundle's own steps: leave --steps away")
        if not self.local and (self.against or self.plot or here.runtime or here.graphs != GRAPH_NAMES):
            raise InvalidInput("--against, --graph, --runtime and --plot measure here: leave --no-local away")
        if not (self.local or self.device or self.imported or self.beside or self.verify_db):
            raise InvalidInput(
                "there is nothing to measure or to show: leave --no-local away, or add --import"
            )
        if self.plot is not None:
            check_plot(self.plot)
        for path, suffix in ((self.html, ".html"), (self.save, ".json"), (self.plot, ".png")):
            if path is not None:
                check_report(path, suffix)


def check_report(path: Path, suffix: str) -> None:
    """Raise InvalidInput, before anything is measured, when a file cannot be written there."""
    if path.suffix.lower() != suffix:
        raise InvalidInput(f"{path} does not end in {suffix}; name it {path.stem or 'profile'}{suffix}")
    if path.is_dir() or not path.parent.is_dir():
        raise InvalidInput(f"{path} cannot be written: its folder must exist, and it must not be one")
    if not os.access(path.parent, os.W_OK):
        raise InvalidInput(f"{path} cannot be written: you may not write to its folder; choose another")
    refuse_inside(path)


def find(request: Request) -> Findings:
    """Measure and read everything that is asked for; what fails soonest comes first."""
    bundle = Bundle.open(request.bundle)
    against = Bundle.open(request.against) if request.against is not None else None
    others = [*([against] if against is not None else []), *map(Bundle.open, request.beside)]
    devices = read_all(request.imported, bundle)
    if request.local and (request.device or devices):
        _check_engine(bundle, request.options)
    if request.device is not None:
        devices.insert(0, _on_device(bundle, request.device, request))
    local: Profile | None = None
    steps: tuple[float, ...] = ()
    if request.local:
        with progress("profiling") as tick:
            local = measure_here(bundle, against, request.options, tick)
    if local is not None and local.edit is not None and request.html is not None:
        steps = steps_here(bundle, request.options)  # one more edit, for the curve
    rows = []
    with stages("reading sizes and dB") as say:
        for number, each in enumerate([bundle, *others]):
            say(each.folder.name, number, 1 + len(others))
            own: Sequence[DeviceSummary] = devices if each is bundle else ()
            rows.append(size_row(each, own, replay=request.verify_db, threads=request.options.threads))
    return Findings(local, tuple(devices), tuple(rows), steps)


def _check_engine(bundle: Bundle, options: ProfileOptions) -> None:
    """Raise RuntimeUnavailable now, before a phone works for ten minutes, if the engine cannot run here."""
    try:
        open_runtime(bundle, options.runtime, options.threads)
    except RuntimeUnavailable as error:
        raise RuntimeUnavailable(f"{error}; or leave this machine out with --no-local") from None


def _on_device(bundle: Bundle, kind: str, request: Request) -> DeviceSummary:
    steps = request.options.steps or bundle.manifest.defaults.steps
    wish = Wish(request.options.runs, request.device_edits, steps, request.minutes)

    def keep(data: bytes) -> None:
        if request.save is not None:
            write_atomically(request.save, data)

    with stages(f"profiling on {kind}") as say:
        return measure_on_device(bundle, kind, wish, say, serial=request.serial, keep=keep)


def write(request: Request, findings: Findings) -> list[Path]:
    """Write the files that are asked for; return all that were written, the device's JSON included."""
    if request.plot is not None and findings.local is not None:
        draw(findings.local, request.plot)
    if request.html is not None:
        write_atomically(request.html, render(findings))
    return [path for path in (request.save, request.plot, request.html) if path is not None]


def print_findings(request: Request, findings: Findings) -> None:
    """Print what was found, for people."""
    if findings.local is not None:
        profile_text.print_profile(findings.local)
    for device in findings.devices:
        profile_text.print_device(device)
    if request.beside or request.verify_db:
        profile_text.print_sizes(findings.sizes)
