"""What a registry holds besides the project's own rows: those of other packages, found by entry points.

A plug-in can break itself, never the project: what is wrong with one is a warning, and its row is left out.
Entry points: packaging.python.org, "Entry points specification".
"""

import re
import sys
from collections.abc import Callable, Collection, Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from moebius_edge.common.explain import printable
from moebius_edge.common.row_types import wrong_field

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")  # what a manifest can hold


class Row(Protocol):
    """What every registry knows of its rows."""

    @property
    def name(self) -> str:
        """As typed on the command line."""
        ...


R = TypeVar("R", bound=Row)


PART = re.compile(r"[A-Za-z_]\w*(\.\w+)*:[A-Za-z_]\w*")  # "module:function"


def wrong_part(part: str | None) -> str:
    """Say what is wrong with what a row names as "module:function" (None: nothing), or ""."""
    return "" if part is None or PART.fullmatch(part) else f"names {part!r}; expected 'module:function'"


def load(name: str) -> Callable[..., Any]:
    """Import what "module:function" in a row stands for; late, because it needs an engine or a tool.

    Raises ImportError for a module that cannot be imported, or does not have the function.
    """
    module, _, attribute = name.partition(":")
    found: Callable[..., Any] | None = getattr(import_module(module), attribute, None)
    if found is None:
        raise ImportError(f"{module} has no {attribute}", name=module)
    return found


def find_plugins(
    group: str, what: str, kind: type[R], taken: Collection[str], check: Callable[[R], str]
) -> dict[str, tuple[R, str]]:
    """Find the rows that installed packages declare as entry points of `group`, sorted by package and name.

    `what`: what a row is called in a warning, like "target"; `kind`: its class; `taken`: names that exist;
    `check`: what else is wrong with a row, or "". Returns name -> (row, the package that it is from). A row
    that cannot be used is left out, with one warning on standard error.
    """
    found: dict[str, tuple[R, str]] = {}
    for package, point in sorted(_declared(group), key=lambda each: (each[0], each[1].name)):
        row, wrong = _read(point, kind, {*taken, *found}, check)
        if row is None:
            _warn(f"{package}: its {what} {point.name!r} ({point.value}) {wrong}", package)
        else:
            found[row.name] = row, package
    return found


def _declared(group: str) -> "Iterator[tuple[str, EntryPoint]]":
    """Yield the entry points of a group with the names of their packages; of two installed, the first."""
    from importlib.metadata import distributions  # noqa: PLC0415 (20 ms, of which help has no need)

    seen = set()
    for package in distributions():
        try:
            if group not in (package.read_text("entry_points.txt") or ""):
                continue
            name = package.metadata["Name"] or "an unnamed package"
            points = list(package.entry_points.select(group=group))
        except Exception as error:  # files that an installer has not written as it should
            _warn(f"a package whose files cannot be read ({type(error).__name__}: {_text(error)})", "it")
            continue
        if name not in seen:
            seen.add(name)
            yield from ((name, point) for point in points)


def _read(
    point: "EntryPoint", kind: type[R], taken: Collection[str], check: Callable[[R], str]
) -> tuple[R | None, str]:
    """Return the row, or None and what is wrong."""
    try:
        row = point.load()
        if type(row) is not kind:
            return None, f"is of the type {type(row).__name__}; expected a {kind.__module__}.{kind.__name__}"
        wrong = _wrong_name(row.name, point.name, taken) or wrong_field(row, kind) or check(row)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever another package does when it is imported
        return None, f"cannot be imported: {type(error).__name__}: {_text(error)}"
    return (None, wrong) if wrong else (row, "")


def _text(error: BaseException) -> str:
    """Return what an error says, in a line's length; its own way to say it may fail, too."""
    try:
        return f"{error}"[:300]
    except Exception:
        return "it cannot say what"


def _wrong_name(name: Any, declared: str, taken: Collection[str]) -> str:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        return f"has the name {name!r}; expected a lower-case identifier"
    if name != declared:
        return f"calls itself {name!r}; expected the name of its entry point"
    return "has a name that exists already" if name in taken else ""


def _warn(sentence: str, package: str) -> None:
    if sys.stderr is not None:
        text = f"warning: left out a plug-in of {sentence}; repair or uninstall {package}"
        print(printable(text), file=sys.stderr)
