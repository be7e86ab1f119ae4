"""The tables of the documents are what the rows of the program say."""

import re
from pathlib import Path

import pytest

from moebius_edge.cli.tables import TABLES, main, with_tables
from moebius_edge.common.errors import InvalidInput

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))]
MARK = re.compile(r"^<!-- table: ([\w-]+) -->$", re.MULTILINE)


def test_every_table_stands_in_one_document() -> None:
    found = [name for page in PAGES for name in MARK.findall(page.read_text())]
    assert sorted(found) == sorted(TABLES)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tables_of_documents_are_the_programs(page: Path) -> None:
    text = page.read_text()
    assert with_tables(text) == text, "run: python -m moebius_edge.cli.tables README.md docs/*.md"


def test_the_command_prints_and_writes_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([])
    printed = capsys.readouterr().out
    assert MARK.findall(printed) == list(TABLES)
    page = tmp_path / "page.md"
    around = "before\n\n<!-- table: targets -->\n{}\n<!-- end -->\n\nafter\n"
    page.write_text(around.format("old"))
    main([str(page)])
    assert (
        page.read_text()
        == f"before\n\n<!-- table: targets -->\n{TABLES['targets']()}\n<!-- end -->\n\nafter\n"
    )


def test_a_table_that_is_not_known_is_an_error() -> None:
    with pytest.raises(InvalidInput, match="there is no table 'typo'; tables are targets"):
        with_tables("<!-- table: typo -->\n<!-- end -->\n")


OLD = "<!-- table: targets -->\nold\n"


@pytest.mark.parametrize(
    "text",
    [
        f"{OLD}\nPROSE\n\n<!-- table: runtimes -->\nold\n<!-- end -->\n",
        OLD,
        f"{OLD}<!-- end -->\n<!-- end -->\n",
        f"<!-- end -->\n{OLD}",
        "<!--table: targets-->\nold\n<!-- end -->\n",
        "<!-- table: targets --> and more\nold\n<!-- end -->\n",
    ],
)
def test_marks_that_do_not_alternate_are_an_error(text: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"line \d+ is '.*'; expected"):
        with_tables(text)
    fine, broken = tmp_path / "fine.md", tmp_path / "broken.md"
    fine.write_text(f"{OLD}<!-- end -->\n")
    broken.write_text(text)
    with pytest.raises(SystemExit, match="2"):
        main([str(fine), str(broken)])
    assert "old" in fine.read_text(), "nothing is written where one of the files cannot be"


def test_what_is_no_text_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SystemExit, match="2"):
        main([str(tmp_path / "page.md")])
