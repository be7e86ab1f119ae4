"""A new folder of the source tree is installed without being listed anywhere."""

import runpy
from pathlib import Path

import pytest

from tests.architecture import sources

ROOT = Path(__file__).parents[1]


def test_every_folder_with_modules_is_a_package_that_is_installed() -> None:
    pytest.importorskip("setuptools")
    found = runpy.run_path(str(ROOT / "setup.py"))["packages"]()
    folders = {name for name, path in sources(ROOT).items() if path.name == "__init__.py"}
    modules = {name.rpartition(".")[0] for name, path in sources(ROOT).items() if path.name != "__init__.py"}
    assert set(found) == folders
    assert modules <= folders, "folders with modules and no __init__.py"
