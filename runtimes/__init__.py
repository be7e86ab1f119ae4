"""One module per way to run a bundle's graphs, behind one small protocol. Engines are imported late."""

import sys
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, cast

from moebius_edge.common.errors import MoebiusError, RuntimeUnavailable
from moebius_edge.common.explain import PACKAGE, install
from moebius_edge.common.machine import check_threads
from moebius_edge.common.plugins import find_plugins, load, wrong_part
from moebius_edge.runtimes.table import OWN, RuntimeEntry

if TYPE_CHECKING:  # help lists the runtimes, and does not wait for numpy
    from collections.abc import Mapping

    from moebius_edge.bundle.folder import Bundle
    from moebius_edge.common.tensors import Array
    from moebius_edge.inpaint.runtime import Runtime

GROUP = "moebius_edge.runtimes"  # of entry points: name = "module:RUNTIME"


@cache
def runtimes() -> dict[str, RuntimeEntry]:
    """Find all runtimes: name -> row, this project's first, then those of other packages."""
    own = {entry.name: entry for entry in OWN}
    others = find_plugins(GROUP, "runtime", RuntimeEntry, own, _wrong)
    return own | {name: replace(entry, package=package) for name, (entry, package) in others.items()}


def _wrong(entry: RuntimeEntry) -> str:
    """Say what is wrong with a row of another package, or ""."""
    if wrong := wrong_part(entry.factory):
        return wrong
    if entry.system is not None and entry.instead is None:
        return f"is there on {entry.system.name} alone; expected `instead`, what opens its bundles elsewhere"
    return ""


def find_runtime(name: str, do: str = "choose one of them") -> RuntimeEntry:
    """Find a runtime by its name. Raises RuntimeUnavailable, with what to `do`, for one that is not known."""
    if name not in runtimes():
        raise RuntimeUnavailable(
            f"the runtime {name!r} is not known here; known are {', '.join(runtimes())}: {do}"
        )
    return runtimes()[name]


def default_runtime(bundle: "Bundle") -> str:
    """Find the runtime that the bundle was made for, or what stands in for it on this system."""
    made_for = bundle.manifest.runtime
    row = runtimes().get(made_for)
    if row is None or row.instead is None or (row.system and row.system.platform == sys.platform):
        return made_for
    return row.instead


def units_of(name: str) -> tuple[str, ...]:
    """Return the compute units of a runtime."""
    row = runtimes().get(name)
    return row.units if row and row.units else ("default",)


def open_runtime(
    bundle: "Bundle", name: str | None = None, threads: int | None = None, unit: str | None = None
) -> "Runtime":
    """Open the runtime `name` (None: `default_runtime`) for a bundle.

    `threads`: of the CPU (None: all); `unit`: one of `units_of` (None: the first). Raises InvalidInput for an
    impossible number of threads, RuntimeUnavailable when the name is unknown or the engine not installed.
    """
    check_threads(threads)
    if name is None:
        name = default_runtime(bundle)
        _note_stand_in(bundle.manifest.runtime, name)
    require_fitting(bundle, name)
    row = runtimes()[name]
    try:
        factory = load(row.factory)
    except ImportError as error:
        raise RuntimeUnavailable(
            f"the runtime {name!r} needs {error.name}, which cannot be imported; "
            f"{install(row.extra, row.package)}"
        ) from error
    chosen = {"unit": unit} if row.units and unit is not None else {}
    try:
        runtime = cast("Runtime", factory(bundle, threads, **chosen))
        return runtime if row.package == PACKAGE else _checked(runtime, bundle)
    except (Exception, SystemExit) as error:
        if row.package == PACKAGE or isinstance(error, MoebiusError):
            raise
        raise RuntimeUnavailable(
            f"the runtime {name!r} cannot be opened: {type(error).__name__}: {error}; it is of the package "
            f"{row.package}: tell its makers"
        ) from error


def _checked(runtime: "Runtime", bundle: "Bundle") -> "Runtime":
    """Let what a runtime of another package gives be checked: a wrong shape may broadcast, unnoticed."""
    from moebius_edge.runtimes.inputs import check_outputs, graph_spec  # noqa: PLC0415 (help needs no numpy)

    run = runtime.run

    def checked(graph: str, inputs: "Mapping[str, Array]") -> "dict[str, Array]":
        outputs = run(graph, inputs)
        check_outputs(graph, graph_spec(bundle.manifest.graphs, graph).outputs, outputs)
        return outputs

    # On the object itself, so that all else that it can do stays: a loop of its own, plans, ...
    runtime.run = checked  # type: ignore[method-assign]
    return runtime


def _note_stand_in(made_for: str, name: str) -> None:
    """Say that another runtime is used than the bundle was made for."""
    if name != made_for and (system := runtimes()[made_for].system) is not None:
        what = find_runtime(name).stands_in
        print(f"note: {made_for} needs {system.name}; here {name}, {what}, stands in for it", file=sys.stderr)


def require_fitting(bundle: "Bundle", name: str) -> None:
    """Raise RuntimeUnavailable for a runtime that is not known, or cannot open this bundle's files."""
    made_for = bundle.manifest.runtime
    do = "update moebius-edge" if name == made_for else f"leave it away for {default_runtime(bundle)}"
    if find_runtime(name, do).opens not in (None, made_for):
        fitting = [entry.name for entry in runtimes().values() if entry.opens in (None, made_for)]
        raise RuntimeUnavailable(
            f"{bundle.folder.resolve().name} was made for {made_for}, whose files {name} cannot open; "
            f"choose one of {', '.join(fitting)}"
        )
