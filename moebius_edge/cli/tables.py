"""The tables of the documents, printed from the rows that the program works by.

    python -m moebius_edge.cli.tables                                         # all, to standard output
    python -m moebius_edge.cli.tables README.md docs/*.md CONTRIBUTING.md     # into these files

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
from moebius_edge.common.files import write_atomically
from moebius_edge.common.scripts import script_parser
from moebius_edge.export.targets.registry import own_targets
from moebius_edge.packaging.platforms import PLATFORMS, targets_of
from moebius_edge.precisions import PRECISIONS, Thresholds
from moebius_edge.runtimes.table import OWN

WIDTH = 110  # of a line of a document
BLOCK = re.compile(r"(?<=<!-- table: )([\w-]+)( -->\n).*?(?=<!-- end -->)", re.DOTALL)


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


TABLES: dict[str, Callable[[], str]] = {
    "targets": _targets,
    "states": _states,
    "precisions": _precisions,
    "thresholds": _thresholds,
    "runtimes": _runtimes,
    "platforms": _platforms,
}


def with_tables(text: str) -> str:
    """Put into a document what its tables have to say. Raises InvalidInput for a table that is not known."""

    def made(found: "re.Match[str]") -> str:
        if found[1] not in TABLES:
            raise InvalidInput(f"there is no table {found[1]!r}; tables are {', '.join(TABLES)}")
        return f"{found[1]}{found[2]}{TABLES[found[1]]()}\n"

    return BLOCK.sub(made, text)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = script_parser("moebius_edge.cli.tables", __doc__)
    parser.add_argument("documents", nargs="*", type=Path, help="files to write the tables into")
    given = parser.parse_args(arguments)
    with explained():
        for path in given.documents:
            before = path.read_text()
            if (after := with_tables(before)) != before:
                write_atomically(path, after.encode())
                print(f"wrote {path}", file=sys.stderr)
        if not given.documents:
            blocks = (f"<!-- table: {name} -->\n{say()}\n<!-- end -->" for name, say in TABLES.items())
            print("\n\n".join(blocks))


if __name__ == "__main__":
    main()
