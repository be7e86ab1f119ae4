"""What a registry holds besides the project's own rows: those of other packages, found by entry points.

A plug-in can break itself, never the project: what is wrong with one is a warning, and its row is left out.
Entry points: packaging.python.org, "Entry points specification".
"""

import re
import sys
from collections.abc import Callable, Collection
from importlib import import_module
from typing import Any, Protocol, TypeVar

from moebius_edge.common.explain import printable

NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")  # what a manifest can hold


class Row(Protocol):
    """What every registry knows of its rows."""

    @property
    def name(self) -> str:
        """As typed on the command line."""
        ...


R = TypeVar("R", bound=Row)


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
    from importlib.metadata import entry_points  # noqa: PLC0415 (20 ms, of which help has no need)

    found: dict[str, tuple[R, str]] = {}
    points = entry_points(group=group)
    for point in sorted(points, key=lambda each: (each.dist.name if each.dist else "", each.name)):
        package = point.dist.name if point.dist else "an unnamed package"
        row, wrong = _read(point.load, kind)
        if row is not None:
            wrong = _wrong_name(row.name, point.name, {*taken, *found}) or check(row)
        if row is None or wrong:
            _warn(f"{package}: its {what} {point.name!r} ({point.value}) {wrong}", package)
        else:
            found[row.name] = row, package
    return found


def _read(load_row: Callable[[], Any], kind: type[R]) -> tuple[R | None, str]:
    """Return the row, or None and what is wrong."""
    try:
        row = load_row()
    except (Exception, SystemExit) as error:  # whatever another package does when it is imported
        return None, f"cannot be imported: {type(error).__name__}: {error}"
    if not isinstance(row, kind):
        return None, f"is of the type {type(row).__name__}; expected a {kind.__module__}.{kind.__name__}"
    return row, ""


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
