"""Rooms of the source tree and the arrows between them, read off the sources without importing them.

A room is a folder, or a single module, at the top of the package `moebius_edge`. `export/`, `calibration/`
and `runtimes/` are mapped into it by setup.py. An arrow is any import of another room: at the top of
a module, inside a function, or for type checkers only. A module can be named in a string, too, as rows of
tables do: "moebius_edge.room.module:function".
"""

import ast
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "moebius_edge"
MAPPED = ("calibration", "export", "runtimes")
# The package itself: what it re-exports, and its entry point.
FRONT = ("__init__", "__main__")

NAMED = re.compile(rf"({PACKAGE}(?:\.\w+)+)(?::[\w:]*)?")

Arrows = dict[tuple[str, str], list[str]]  # (room, room it imports) -> "module imports module"


@dataclass(frozen=True)
class Import:
    """One import of a module."""

    module: str  # as written, with the name that is imported from it
    late: bool  # in a function, or for type checkers only: not when the module itself is imported


def sources(root: Path) -> dict[str, Path]:
    """Every module of the tree by its full name."""
    found = {}
    for folder in (PACKAGE, *MAPPED):
        for path in sorted((root / folder).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            name = ".".join(parts if parts[0] == PACKAGE else (PACKAGE, *parts))
            found[name.removesuffix(".__init__")] = path
    return found


def imports(tree: ast.AST, late: bool = False) -> Iterator[Import]:
    """Everything that a module imports, wherever in it that stands."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, late) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"line {node.lineno}: a relative import; write the whole name"
            yield from (Import(f"{node.module}.{alias.name}", late) for alias in node.names)
        function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for_checkers = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        yield from imports(node, late or function or for_checkers)


def room(module: str) -> str:
    """The room of a module: the part of its name after the package's."""
    return [*module.split("."), "__init__"][1]


def links(root: Path) -> Iterator[tuple[str, str, str]]:
    """Each import of one module of the tree by another: who, whom, and what as it is written."""
    known = sources(root)
    for name, path in known.items():
        for each in imports(ast.parse(path.read_text())):
            target = each.module
            while target and target not in known:
                target = target.rpartition(".")[0]
            if each.module == f"{PACKAGE}.__version__" or not target or room(name) in FRONT:
                continue  # a constant of the package; another library; what the package re-exports
            yield name, target, each.module


def arrows(root: Path) -> Arrows:
    """The imports between rooms."""
    found = defaultdict(list)
    for name, target, written in links(root):
        if room(target) != room(name):
            found[room(name), room(target)].append(f"{name} imports {written}")
    return dict(found)


def named(root: Path) -> Arrows:
    """The arrows that are strings: a module of another room, with or without ":function"."""
    known, found = sources(root), defaultdict(list)
    for name, path in known.items():
        for node in ast.walk(ast.parse(path.read_text())):
            text = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
            if (match := NAMED.fullmatch(text)) is None or match[1] not in known or room(name) in FRONT:
                continue
            if room(match[1]) != room(name):
                found[room(name), room(match[1])].append(f"{name} names {text}")
    return dict(found)


def between(root: Path, place: Callable[[str], str]) -> dict[str, set[str]]:
    """Which places import which others; `place`: of a module, for example its folder."""
    found: dict[str, set[str]] = defaultdict(set)
    for name, target, _ in links(root):
        if place(name) != place(target):
            found[place(name)].add(place(target))
    return found


def circles(allowed: Mapping[str, Set[str]]) -> list[str]:
    """The rooms from which arrows lead back to themselves."""

    def reach(start: str) -> set[str]:
        seen: set[str] = set()
        following = list(allowed.get(start, ()))
        while following:
            if (each := following.pop()) not in seen:
                seen.add(each)
                following += allowed.get(each, ())
        return seen

    return sorted(each for each in allowed if each in reach(each))
