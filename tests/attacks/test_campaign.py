"""The attacks of `campaign`, with the budget of a test; by hand it is run with a large one."""

from pathlib import Path

import pytest

from tests.attacks import kills
from tests.attacks.campaign import campaign, parser, table, wrong
from tests.attacks.graphs import GRAPHS
from tests.attacks.ort_files import ORT_FILES

SLOW = {"300,000 nodes", "300,000 nodes of the inputs", "if, 12 deep", "an attribute of 2 million numbers"}


def test_every_attack_is_refused_or_harmless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(GRAPHS) >= 40
    assert len(ORT_FILES) >= 40
    for name in list(GRAPHS):
        if name in SLOW or "10 million" in name:
            monkeypatch.delitem(GRAPHS, name)
    for name in ("40,000 nodes", "3 million entries"):
        monkeypatch.delitem(ORT_FILES, name)
    asked = parser().parse_args(["--manifests", "60", "--flips", "40", "--edits", "6", "--kills", "3"])
    found = campaign(tmp_path, asked)
    assert not wrong(found)
    for kind in ("re-sealed graphs", "re-sealed .ort files"):
        assert {each.words for each in found[kind]} == {"refused"}
    assert {each.words for each in found["flipped bits"]} == {"refused"}
    assert "re-sealed graphs" in table(found)


@pytest.mark.parametrize("writer", kills.WRITERS)
def test_a_writer_that_is_killed_leaves_all_or_nothing(writer: str, tmp_path: Path) -> None:
    assert kills.every_point(tmp_path, writer, step=5 if "bundle" in writer else 1) > 5
