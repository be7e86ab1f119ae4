"""What tests keep between runs is made anew when what makes it is another."""

from pathlib import Path

import pytest

from tests import kept
from tests.kept import MAKERS, ROOT, digest, folders, sources


def test_what_makes_the_graphs_is_known() -> None:
    found = {path.relative_to(ROOT).as_posix() for path in sources(MAKERS[0])}
    assert {"export/onnx/graph.py", "export/rewrites/mix_ffn.py", "moebius_edge/model/lambdas.py"} <= found
    assert not [name for name in found if name.startswith(("calibration/", "moebius_edge/cli/"))]


def test_another_source_is_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {maker: digest(maker) for maker in MAKERS}
    (tmp_path / "a.py").write_text("a = 1")
    monkeypatch.setattr(kept, "DATA", (*kept.DATA, tmp_path / "a.py"))
    after = {maker: digest(maker) for maker in MAKERS}
    assert len({*before.values(), *after.values()}) == 4


def test_a_file_is_made_once_and_those_of_other_sources_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []

    def make(path: Path) -> None:
        made.append(path)
        path.write_text("x")

    (tmp_path / "of other sources").mkdir()
    monkeypatch.setattr(kept, "CACHE", tmp_path)
    folders.cache_clear()
    try:
        first, second = kept.kept("a", make), kept.kept("a", make)
    finally:
        folders.cache_clear()
    assert first == second and first.read_text() == "x" and len(made) == 1
    assert {path.name for path in tmp_path.iterdir()} == {digest(maker) for maker in MAKERS}
