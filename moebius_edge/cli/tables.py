"""The tables of the documents, printed from the rows that the program works by.

    python -m moebius_edge.cli.tables                                         # all, to standard output
    python -m moebius_edge.cli.tables README.md docs/*.md     # into these files

In a document a table stands between the lines `<!-- table: NAME -->` and `<!-- end -->`.
"""

import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path

from moebius_edge.common.errors import InvalidInput
from moebius_edge.common.explain import explained
from moebius_edge.common.files import plain_size, write_atomically
from moebius_edge.common.scripts import script_parser
from moebius_edge.common.telemetry import ROWS, SWITCHED_OFF
from moebius_edge.export.targets.registry import own_targets
from moebius_edge.packaging.platforms import PLATFORMS, targets_of
from moebius_edge.precisions import PRECISIONS, Thresholds
from moebius_edge.runtimes.table import OWN

WIDTH = 110  # of a line of a document
MARK = re.compile(r"<!--\s*(table|end)\b[^>]*-->[^\n]*")
START, END = re.compile(r"<!-- table: ([\w-]+) -->"), "<!-- end -->"


def _table(head: Sequence[str], rows: Iterator[Sequence[str]]) -> str:
    first, *lines = (f"| {' | '.join(cells)} |".replace("|  |", "| |") for cells in (head, *rows))
    return "\n".join([first, "|---" * len(head) + "|", *lines])


def _code(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _targets() -> str:
    rows = ((f"`{row.name}`", row.runs_on) for row in own_targets())
    return _table(("target", "runs on"), rows)


def _states() -> str:
    """As a list, whose lines are broken: the precisions of a target become more."""
    lines = (f"- **`{row.name}`** in {', '.join(row.precisions)}: {row.state}" for row in own_targets())
    return "\n".join(
        textwrap.fill(line, WIDTH, subsequent_indent="  ", break_on_hyphens=False) for line in lines
    )


def _precisions() -> str:
    rows = ((f"`{row.name}`", row.help, row.pays) for row in PRECISIONS.values())
    return _table(("precision", "what it is", "where it pays"), rows)


def _thresholds() -> str:
    names = [field.name for field in fields(Thresholds)]
    rows = (
        (f"`{row.name}`", *(f"{getattr(row.thresholds, name):g}" for name in names))
        for row in PRECISIONS.values()
    )
    return _table(("precision", *(name.removesuffix("_db") for name in names)), rows)


def _runtimes() -> str:
    rows = (
        (f"`{row.name}`", row.help, row.opens or "any", f"`{row.extra}`" if row.extra else "") for row in OWN
    )
    return _table(("`--runtime`", "what runs", "bundles made for", "extra"), rows)


def _platforms() -> str:
    rows = (
        (f"[`{row.name}`]({row.page})", _code(targets_of(row, own_targets())), row.language, row.engine)
        for row in PLATFORMS.values()
    )
    return _table(("platform", "targets", "language", "engine"), rows)


def _telemetry() -> str:
    rows = ((row.name, row.sends, f"`{row.variable}={SWITCHED_OFF}`" if row.variable else "") for row in ROWS)
    return _table(("engine or library", "what it sends by itself", "switched off by"), rows)


TABLES: dict[str, Callable[[], str]] = {
    "targets": _targets,
    "states": _states,
    "precisions": _precisions,
    "thresholds": _thresholds,
    "runtimes": _runtimes,
    "platforms": _platforms,
    "telemetry": _telemetry,
}


def with_tables(text: str) -> str:
    """Put into a document what its tables have to say.

    Raises InvalidInput for a table that is not known and for marks that do not alternate: what stands between
    two of them would be lost.
    """
    marks = list(MARK.finditer(text))
    for number, mark in enumerate(marks):
        fine = START.fullmatch(mark[0]) if number % 2 == 0 else mark[0] == END
        if not fine or len(marks) % 2:
            line = text.count("\n", 0, mark.start()) + 1
            expected = f"expected `<!-- table: NAME -->` and `{END}` in turns"
            raise InvalidInput(f"line {line} is {mark[0]!r}; {expected}")
    parts, done = [], 0
    for start, end in zip(marks[::2], marks[1::2], strict=True):
        name = START.fullmatch(start[0])
        assert name is not None
        if name[1] not in TABLES:
            raise InvalidInput(f"there is no table {name[1]!r}; tables are {', '.join(TABLES)}")
        parts += [text[done : start.end()], f"\n{TABLES[name[1]]()}\n"]
        done = end.start()
    return "".join([*parts, text[done:]])


def _read(path: Path) -> str:
    try:
        plain_size(path)  # a pipe would be waited for
        return path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"cannot read {path} as UTF-8: {error}") from error


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = script_parser("moebius_edge.cli.tables", __doc__)
    parser.add_argument("documents", nargs="*", type=Path, help="files to write the tables into")
    given = parser.parse_args(arguments)
    with explained():
        before = {path: _read(path) for path in given.documents}
        after = {path: with_tables(text) for path, text in before.items()}
        for path, text in after.items():
            if text != before[path]:
                write_atomically(path.resolve(), text.encode())
                print(f"wrote {path}", file=sys.stderr)
        if not given.documents:
            blocks = (f"<!-- table: {name} -->\n{say()}\n<!-- end -->" for name, say in TABLES.items())
            print("\n\n".join(blocks))


if __name__ == "__main__":
    main()
