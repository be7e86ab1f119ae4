"""What the documentation says about files, links, commands and defaults is so."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from moebius_edge.cli import PANELS
from moebius_edge.inpaint.options import InpaintOptions

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("moebius_edge/assets/**/*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())
    assert not [link for link in links if not (page.parent / link).exists()]


def test_the_readme_runs_on_files_that_are_there() -> None:
    text = (ROOT / "README.md").read_text()
    samples = re.findall(r"moebius_edge/assets/samples/[\w.-]+", text)
    assert samples and all((ROOT / sample).is_file() for sample in samples)
    commands = {name for panel in PANELS.values() for name in panel}
    assert set(re.findall(r"^    moebius-edge (\w+)", text, re.MULTILINE)) <= commands


def test_every_option_is_documented_with_its_default() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\S+) \|", (ROOT / "docs" / "photos.md").read_text(), re.MULTILINE)
    assert dict(rows) == {field.name: str(field.default) for field in fields(InpaintOptions)}
