"""docs/vectors.json is what the code computes."""

import json
import re
from pathlib import Path

from moebius_edge.packaging.vectors import dumps, vectors

DOCS = Path(__file__).parents[2] / "docs"


def test_the_file_is_what_the_code_computes() -> None:
    text = (DOCS / "vectors.json").read_text()
    again = "python -m moebius_edge.packaging.vectors > docs/vectors.json"
    assert text == dumps(), f"the loop computes something else now; if that is meant: {again}"
    assert json.loads(text) == vectors()


def test_every_part_is_described() -> None:
    table = (DOCS / "loop.md").read_text().split("## The vectors")[1]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == [
        name for name in vectors() if name != "format"
    ]
