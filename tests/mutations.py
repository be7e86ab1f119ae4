"""Would tests notice a fault? Puts small ones into copies of the tree, one by one, and runs those they touch.

    python tests/mutations.py choose > build/mutations.json
    python tests/mutations.py touch build/touched.json
    python tests/mutations.py run build/mutations.json --touched build/touched.json

A fault is named by its function, its line as it is and its line as it becomes, wherever these lie: one list
fits trees that are laid out differently (`--tree`), so that the tests of two commits can be compared. A fault
that nobody notices is a test to write, or a line that does nothing that can be seen.

`touch` runs the quick tests once under coverage.py (`pip install coverage`; it takes about twice as long),
prints the share of branches that they take, and notes which test file runs which line. It is loaded by pytest
as a plug-in, too: that is how it knows whose line it is.
"""

import argparse
import ast
import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

with contextlib.suppress(ImportError):  # only `touch` needs it
    import coverage

ROOT = Path(__file__).parents[1]
SOURCES = ("moebius_edge", "export", "calibration", "runtimes")
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
PYTEST = ["pytest", "-q", "-p", "no:cacheprovider"]
SWAPS: dict[type[ast.AST], str] = {
    ast.Lt: "<=",
    ast.LtE: "<",
    ast.Gt: ">=",
    ast.GtE: ">",
    ast.Eq: "!=",
    ast.NotEq: "==",
    ast.In: "not in",
    ast.NotIn: "in",
    ast.Is: "is not",
    ast.IsNot: "is",
    ast.Add: "-",
    ast.Sub: "+",
    ast.Mult: "/",
    ast.Div: "*",
    ast.FloorDiv: "*",
    ast.And: "or",
    ast.Or: "and",
}


@dataclass(frozen=True)
class Fault:
    """One line of one function, changed."""

    function: str
    line: str
    becomes: str


@dataclass(frozen=True)
class Place:
    """Where a line lies."""

    file: Path  # in its tree
    number: int


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    """Every function and method; one within another is a part of it."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.FunctionDef):
            yield child
        else:
            yield from functions(child)


def replacements(node: ast.AST, source: str) -> Iterator[tuple[ast.expr | ast.stmt, str]]:
    """Parts of the source below a node, and what may stand there instead."""
    for part in ast.walk(node):
        if isinstance(part, ast.Compare) and len(part.ops) == 1:
            sides, operator = [part.left, *part.comparators], part.ops[0]
        elif isinstance(part, ast.BinOp):
            sides, operator = [part.left, part.right], part.op
        elif isinstance(part, ast.BoolOp) and len(part.values) == 2:
            sides, operator = part.values, part.op
        elif isinstance(part, ast.Constant) and isinstance(part.value, bool):
            yield part, str(not part.value)
            continue
        elif isinstance(part, ast.Constant) and isinstance(part.value, int | float):
            yield part, f"{part.value + 1}" if isinstance(part.value, int) else f"{part.value * 2 or 1.0}"
            continue
        elif isinstance(part, ast.UnaryOp) and isinstance(part.op, ast.Not):
            yield part, f"bool({ast.get_source_segment(source, part.operand)})"
            continue
        elif isinstance(part, ast.AugAssign) or (
            isinstance(part, ast.Expr) and isinstance(part.value, ast.Call)
        ):
            yield part, "pass"
            continue
        else:
            continue
        left, right = (ast.get_source_segment(source, side) for side in sides)
        if type(operator) in SWAPS:
            yield part, f"({left}) {SWAPS[type(operator)]} ({right})"
        if isinstance(operator, ast.Sub | ast.Div | ast.FloorDiv | ast.Lt | ast.Gt | ast.MatMult):
            between = source_between(source, sides[0], sides[1])
            yield part, f"({right}){between}({left})"


def source_between(source: str, left: ast.expr, right: ast.expr) -> str:
    """The operator, with its spaces."""
    if left.end_lineno != right.lineno:
        return " "
    line = source.splitlines()[right.lineno - 1].encode()
    return line[left.end_col_offset : right.col_offset].decode().strip("()").join("  ")


def faults(source: str) -> Iterator[tuple[Fault, int]]:
    """Every fault that a file can have, and the number of its line."""
    lines = source.splitlines()
    for function in functions(ast.parse(source)):
        for statement in function.body:
            for part, text in replacements(statement, source):
                if part.lineno != part.end_lineno or part.end_col_offset is None:
                    continue
                line = lines[part.lineno - 1].encode()
                changed = (
                    line[: part.col_offset].decode() + text + line[part.end_col_offset :].decode()
                ).strip()
                try:
                    ast.parse(
                        "\n".join(
                            [
                                *lines[: part.lineno - 1],
                                indent(lines, part.lineno, changed),
                                *lines[part.lineno :],
                            ]
                        )
                    )
                except SyntaxError:  # within a string
                    continue
                yield Fault(function.name, lines[part.lineno - 1].strip(), changed), part.lineno


def indent(lines: list[str], number: int, text: str) -> str:
    """The text as deep as the line of that number."""
    line = lines[number - 1]
    return line[: len(line) - len(line.lstrip())] + text


def sources(tree: Path) -> list[Path]:
    """The source files of a tree, relative to it."""
    return sorted(path.relative_to(tree) for folder in SOURCES for path in (tree / folder).rglob("*.py"))


def every_line(tree: Path) -> dict[tuple[str, str], list[Place]]:
    """Where every line of every function is."""
    found = defaultdict(list)
    for file in sources(tree):
        source = (tree / file).read_text()
        lines = source.splitlines()
        for function in functions(ast.parse(source)):
            for number in range(function.lineno, (function.end_lineno or 0) + 1):
                found[function.name, lines[number - 1].strip()].append(Place(file, number))
    return found


def choose(trees: list[Path], count: int, seed: int) -> list[Fault]:
    """Faults of the first tree, as many of each room, whose line is there once in every tree."""
    everywhere = [every_line(tree) for tree in trees]
    rooms: dict[Path, list[Fault]] = {}
    for file in sources(trees[0]):
        for fault, _ in faults((trees[0] / file).read_text()):
            if all(len(lines.get((fault.function, fault.line), ())) == 1 for lines in everywhere):
                rooms.setdefault(file.parent, []).append(fault)
    generator = random.Random(seed)
    for room in rooms.values():
        generator.shuffle(room)
    order = sorted(rooms)
    generator.shuffle(order)
    chosen: dict[tuple[str, str], Fault] = {}
    while len(chosen) < count and any(rooms.values()):
        for name in order:
            if rooms[name] and len(chosen) < count:
                fault = rooms[name].pop()
                chosen.setdefault((fault.function, fault.line), fault)
    return list(chosen.values())


def copy(tree: Path, folder: Path) -> Path:
    """What git knows of a tree, where `moebius_edge` is found before the one that is installed."""
    names = subprocess.run(
        ["git", "ls-files", "-z"], cwd=tree, check=True, capture_output=True
    ).stdout.decode()
    for name in filter(None, names.split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(tree / name, folder / name)
    for part in SOURCES[1:]:
        (folder / SOURCES[0] / part).symlink_to(folder / part)
    if (cache := tree / "build/test-cache").is_dir():
        shutil.copytree(cache, folder / "build/test-cache")
    (folder / "build").mkdir(exist_ok=True)
    if (packages := tree / "build/web").is_dir():
        (folder / "build/web").symlink_to(packages)
    return folder


def pytest_runtest_logstart(nodeid: str) -> None:
    """Lines that run from now on, in child processes as well, are of this test's file."""
    file = os.environ["MUTATIONS_FILE"] = nodeid.split("::", maxsplit=1)[0]
    if (running := coverage.Coverage.current()) is not None:
        running.switch_context(file)


def touch(tree: Path, expression: list[str]) -> dict[str, dict[str, list[str]]]:
    """Runs a tree's tests under coverage.py, says what they cover, and returns each line's test files."""
    with tempfile.TemporaryDirectory(prefix="coverage-") as temporary:
        rc, report = Path(temporary, "rc"), Path(temporary, "report.json")
        rc.write_text(
            "[run]\nbranch = true\nparallel = true\ncontext = ${MUTATIONS_FILE-}\n"
            f"data_file = {temporary}/data\nsource =\n"
            + "".join(f"    {tree / name}\n" for name in SOURCES)
            + "[report]\nexclude_also =\n    if TYPE_CHECKING:\n[json]\nshow_contexts = true\n"
        )
        Path(temporary, "mutations.py").symlink_to(Path(__file__).resolve())
        Path(temporary, "sitecustomize.py").write_text("import coverage\ncoverage.process_startup()\n")
        env = os.environ | {"PYTHONPATH": temporary, "COVERAGE_PROCESS_START": str(rc), **ONE_THREAD}
        python = [str(tree / ".venv/bin/python"), "-m"]
        subprocess.run(
            [*python, *PYTEST, "-p", "mutations", "-n", "2", "--dist", "loadfile", *expression],
            cwd=tree, env=env, check=False,
        )  # fmt: skip
        for command in (["combine", "-q"], ["json", "-q", "-o", str(report)]):
            subprocess.run([*python, "coverage", *command, f"--rcfile={rc}"], cwd=tree, check=True)
        measured = json.loads(report.read_text())
    totals = measured["totals"]
    print(f"branches taken: {totals['covered_branches']} of {totals['num_branches']}", file=sys.stderr)
    return {
        name: {
            number: sorted({part for name in names for part in name.split("|") if part})
            for number, names in file["contexts"].items()
        }
        for name, file in measured["files"].items()
    }


def run(tree: Path, fault: Fault | None, tests: list[str], limit: float) -> tuple[str, list[str]]:
    """How the tests end with a fault, and which of them failed."""
    with tempfile.TemporaryDirectory(prefix="mutation-") as temporary:
        folder = copy(tree, Path(temporary).resolve())
        if fault is not None:
            (place,) = every_line(folder)[fault.function, fault.line]
            lines = (folder / place.file).read_text().splitlines(keepends=True)
            lines[place.number - 1] = indent(lines, place.number, fault.becomes) + "\n"
            (folder / place.file).write_text("".join(lines))
        env = os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", **ONE_THREAD}
        try:
            done = subprocess.run(
                [str(tree / ".venv/bin/python"), "-m", *PYTEST, "-x", "--no-header", *tests],
                cwd=folder, env=env, timeout=limit, capture_output=True, text=True, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return "timeout", []
        failed = [
            line.split(" ", 1)[1].split(" - ")[0]
            for line in done.stdout.splitlines()
            if line.startswith(("FAILED ", "ERROR "))
        ]
        if done.returncode not in (0, 5) and not failed:
            return "broken", []  # pytest could not run: old notes, a file that is gone
        return ("survived" if done.returncode in (0, 5) else "caught"), failed


def judge(tree: Path, fault: Fault, tests: list[str], limit: float) -> tuple[str, list[str]]:
    """As `run`; what fails without the fault as well has not caught it."""
    skipped: list[str] = []
    while True:
        result, failed = run(tree, fault, [*tests, *skipped], limit)
        if result != "caught" or run(tree, None, failed, limit)[0] == "survived":
            return result, failed
        if set(more := [f"--deselect={name}" for name in failed]) <= set(skipped):
            return "broken", failed
        skipped += more


def main() -> int:
    """See above."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    choosing = commands.add_parser("choose", help="print a list of faults")
    choosing.add_argument("--count", type=int, default=40)
    choosing.add_argument("--seed", type=int, default=0)
    choosing.add_argument("--tree", type=Path, action="append", help="repeat it for lines that are in all")
    touching = commands.add_parser("touch", help="note which test file runs which line, and the coverage")
    touching.add_argument("notes", type=Path)
    running = commands.add_parser("run", help="which of a list's faults are caught")
    running.add_argument("list", type=Path)
    running.add_argument("--touched", type=Path, required=True, help="the notes of `touch`, of the same tree")
    running.add_argument("--jobs", type=int, default=1)
    running.add_argument("--timeout", type=float, default=900.0, help="seconds for the tests of one fault")
    running.add_argument("--json", action="store_true")
    for command in (touching, running):
        command.add_argument("--tree", type=Path, default=ROOT, help="a clone with its .venv")
        command.add_argument("--tests", default="not full", help="pytest's -m; -k is PYTEST_ADDOPTS's")
    given = parser.parse_args()
    if given.command == "choose":
        print(
            json.dumps([asdict(f) for f in choose(given.tree or [ROOT], given.count, given.seed)], indent=1)
        )
        return 0
    tree, expression = given.tree.resolve(), ["-m", given.tests]
    if given.command == "touch":
        given.notes.write_text(json.dumps(touch(tree, expression)))
        return 0
    where, touched = every_line(tree), json.loads(given.touched.read_text())

    def tried(fault: Fault) -> dict[str, object]:
        places = where.get((fault.function, fault.line), [])
        if len(places) != 1:
            return {**asdict(fault), "file": None, "result": "not there", "by": []}
        file, number = places[0].file, places[0].number
        tests = touched.get(str(file), {}).get(str(number), [])
        tests.sort(key=lambda name: Path(name).stem.removeprefix("test_") != file.stem)  # its own first
        judged: tuple[str, list[str]] = ("untouched", [])
        if tests:
            judged = judge(tree, fault, [*tests, *expression], given.timeout)
        result, failed = judged
        print(
            f"{result:9} {file} {fault.function}: {fault.line}  ->  {fault.becomes}",
            file=sys.stderr,
            flush=True,
        )
        return {**asdict(fault), "file": str(file), "result": result, "by": failed}

    with ThreadPoolExecutor(given.jobs) as pool:
        rows = list(pool.map(tried, (Fault(**row) for row in json.loads(given.list.read_text()))))
    caught = sum(row["result"] in ("caught", "timeout") for row in rows)
    if given.json:
        print(json.dumps(rows, indent=1))
    print(f"{caught} of {len(rows)} are caught", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
