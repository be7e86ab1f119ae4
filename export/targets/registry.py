"""The export targets: each folder beside this file that holds a `TARGET`, and those of other packages."""

import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache, wraps
from importlib import import_module
from typing import TYPE_CHECKING, Any, get_args

from moebius_edge.common.errors import ExportError, MoebiusError
from moebius_edge.common.explain import install
from moebius_edge.common.plugins import NAME, find_plugins, load, wrong_part
from moebius_edge.export import targets as folder
from moebius_edge.export.targets.target import Target
from moebius_edge.precisions import PRECISIONS, Need

if TYPE_CHECKING:
    from moebius_edge.bundle.folder import Bundle

GROUP = "moebius_edge.targets"  # of entry points: name = "module:TARGET"


@cache
def targets() -> dict[str, Target]:
    """Find all targets: name -> row, in the order of help and tables; plug-ins come last."""
    own = {target.name: target for target in own_targets()}
    others = find_plugins(GROUP, "target", Target, own, _wrong)
    return own | {name: replace(target, package=package) for name, (target, package) in others.items()}


def own_targets() -> list[Target]:
    """Find the targets of this project, in their order."""
    found = [module.TARGET for module in _folders() if hasattr(module, "TARGET")]
    return sorted(found, key=lambda target: (target.order, target.name))


def _folders() -> Iterator[Any]:
    for entry in pkgutil.iter_modules(folder.__path__):
        if entry.ispkg:
            yield import_module(f"{folder.__name__}.{entry.name}")


def _wrong(target: Target) -> str:
    """Say what is wrong with a row of another package, or ""."""
    parts = (target.ship, target.ready, target.kit, target.take_back, target.doctor, target.made_by)
    if wrong := "".join(map(wrong_part, parts)) or _wrong_runtime(target.runtime):
        return wrong
    tables = (target.settings, *target.only.values())
    if not all(values for table in tables for values in table.values()):
        return "has a setting without values; expected its default first"
    if words := sorted(target.takes - set(get_args(Need))):
        return f"takes {words[0]!r}; known are {', '.join(get_args(Need))}"
    named = {target.default, *target.made_of, *target.made_of.values()}
    if strange := sorted(named - PRECISIONS.keys()):
        return f"names the precision {strange[0]!r}; known are {', '.join(PRECISIONS)}"
    row = PRECISIONS[target.default]
    if target.default not in target.made_of and not row.needs <= target.takes:
        return f"has the default {target.default}, which needs {', '.join(sorted(row.needs - target.takes))}"
    return ""


def _wrong_runtime(name: str) -> str:
    fine = NAME.fullmatch(name)  # or no manifest can hold it, which would be found after the export
    return "" if fine else f"names the runtime {name!r:.80}; expected a lower-case identifier"


def find_target(name: str) -> Target:
    """Find a target by its name. Raises ExportError for one that is not known."""
    if name not in targets():
        raise ExportError(f"there is no target {name!r}; targets are {', '.join(targets())}")
    return targets()[name]


def load_part(target: Target, part: str) -> Callable[..., Any]:
    """Import what a row names as "module:function".

    Raises ExportError where its module, or what that needs, cannot be imported. What belongs to another
    package raises ExportError, too, for every error of its own: nobody here can act on those.
    """
    try:
        found = load(part)
    except ImportError as error:
        raise ExportError(
            f"the target {target.name} needs {error.name}, which cannot be imported; "
            f"{install(target.extra, target.package)}"
        ) from error
    return found if target.package == Target.package else _explained(target, found)


def _explained(target: Target, part: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(part)
    def call(*arguments: Any, **options: Any) -> Any:
        try:
            return part(*arguments, **options)
        except (MoebiusError, MemoryError, OSError):
            raise
        except (Exception, SystemExit) as error:  # SystemExit would end the command as if all were well
            raise ExportError(
                f"the target {target.name} failed: {type(error).__name__}: {str(error)[:200]}; it is of the "
                f"package {target.package}: tell its makers"
            ) from error

    return call


def require_ready(target: Target, settings: Mapping[str, str], kit: bool) -> None:
    """Let a target say whether it can be exported here with these settings, before anything takes time.

    Raises ExportError, or what the target raises, when it cannot.
    """
    if target.ready is None:
        return
    load_part(target, target.ready)(settings, kit)


def find_doctor(name: str) -> Callable[..., Any]:
    """Find what examines a bundle for a target. Raises ExportError for a target that has no such thing."""
    row = targets().get(name)
    if row is None or row.doctor is None:
        known = " and ".join(other.name for other in targets().values() if other.doctor)
        why = "is not known" if row is None else "has no rules to examine a bundle by"
        raise ExportError(
            f"the target {name} {why}; bundles exported for {known} can be examined, and others as one of "
            f"these: add --target"
        )
    return load_part(row, row.doctor)


def require_kit(bundle: "Bundle") -> Target:
    """Find the target that a bundle is a build kit of. Raises ExportError for a bundle that is none."""
    row = targets().get(bundle.manifest.target)
    if row is None or row.kit_file not in bundle.manifest.files:
        known = " or ".join(other.name for other in targets().values() if other.kit_file)
        raise ExportError(
            f"{bundle.folder.name} is no build kit; make one with `export --target {known} --build-kit`"
        )
    return row


def find_importer(kit: "Bundle") -> Callable[..., Any]:
    """Find what makes a bundle of artifacts that were built elsewhere of a kit.

    Raises ExportError for a bundle that is no build kit, or whose target takes nothing back.
    """
    row = require_kit(kit)
    if row.take_back is None:
        raise ExportError(f"the target {row.name} takes nothing back that was built of its kits")
    return load_part(row, row.take_back)
