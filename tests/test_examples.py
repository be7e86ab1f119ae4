"""The examples in docstrings, run as they stand there, and the names that the package gives late."""

import doctest
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import moebius_edge
from moebius_edge.bundle.folder import Bundle
from moebius_edge.common.samples import sample

# Module -> what in it has an example.
EXAMPLES = {
    "moebius_edge.bundle.folder": "Bundle",
    "moebius_edge.checking.profile": "profile",
    "moebius_edge.checking.verify": "verify",
    "moebius_edge.checkpoints.load": "load_checkpoint",
    "moebius_edge.export.build": "export_bundle",
    "moebius_edge.inpainter": "Inpainter",
}
FLAGS = doctest.ELLIPSIS | doctest.REPORT_NDIFF


@pytest.fixture
def working_folder(
    small_checkpoint: Path, small: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The current folder of the examples: small, small.moebius, photo.jpg, mask.png."""
    shutil.copytree(small_checkpoint, tmp_path / "small")
    shutil.copytree(small.folder, tmp_path / "small.moebius")
    photo, mask = sample("osprey")
    shutil.copy(photo, tmp_path / "photo.jpg")
    shutil.copy(mask, tmp_path / "mask.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("module", EXAMPLES)
def test_the_example_gives_what_it_says(
    module: str, working_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (example,) = (
        found for found in doctest.DocTestFinder().find(import_module(module), globs={}) if found.examples
    )
    assert example.name == f"{module}.{EXAMPLES[module]}"
    failed, tried = doctest.DocTestRunner(optionflags=FLAGS).run(example)
    assert tried > 2 and not failed, capsys.readouterr().out


def test_the_package_gives_its_names_late() -> None:
    names = [name for name in moebius_edge.__all__ if not name.startswith("_")]
    assert {*moebius_edge._API} == {*names} <= {*dir(moebius_edge)}
    assert {*EXAMPLES.values()} <= {*names}
    for name in names:
        found = getattr(moebius_edge, name)
        assert found.__name__ == name and found.__doc__
    with pytest.raises(AttributeError, match="no attribute 'Outpainter'"):
        _ = moebius_edge.Outpainter


def test_importing_the_package_imports_nothing_but_its_switches() -> None:
    code = (
        "import sys\nbefore = set(sys.modules)\nimport moebius_edge\nprint(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names = ("moebius_edge", "moebius_edge.common", "moebius_edge.common.telemetry")
    assert done.stdout == f"{[*names]}\n"
