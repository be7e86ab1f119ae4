"""The loop in TypeScript passes docs/vectors.json, in node; the tests are the package's own (`npm test`)."""

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.packaging.web.project import ROOT, TEMPLATE, node_modules, run

PARTS = 27  # 15 of vectors.json, the format included, the listed table, edits (4), holes (3), passes (4)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template with its npm packages and the vectors, as `moebius-edge package` lays it out."""
    packages = node_modules()
    folder = tmp_path_factory.mktemp("web") / "project"
    shutil.copytree(TEMPLATE, folder, ignore=shutil.ignore_patterns("node_modules", "dist", "build"))
    (folder / "node_modules").symlink_to(packages)
    shutil.copy(ROOT / "docs" / "vectors.json", folder / "tests")
    return folder


@pytest.mark.full
def test_the_loop_passes_the_vectors(project: Path) -> None:
    done = run(["npm", "test"], project)
    assert done.returncode == 0, done.stdout
    assert re.search(rf"^# pass {PARTS}$", done.stdout, re.MULTILINE), done.stdout


@pytest.mark.full
def test_a_wrong_vector_is_found(project: Path) -> None:
    """The tests can fail: one coefficient is changed in its tenth digit."""
    path = project / "tests" / "vectors.json"
    text = path.read_text()
    path.write_text(text.replace("1.283139023640908", "1.283139023740908"))
    try:
        done = run(["node", "--test", "build/test/tests/"], project)
    finally:
        path.write_text(text)
    assert done.returncode == 1
    assert re.search(r"^not ok \d+ - schedules$", done.stdout, re.MULTILINE), done.stdout


def test_every_file_is_small_and_versions_are_exact() -> None:
    sources = [*TEMPLATE.glob("src/**/*.ts"), *TEMPLATE.glob("tests/*.ts")]
    assert sources
    assert not [path.name for path in sources if len(path.read_text().splitlines()) > 300]
    packages = json.loads((TEMPLATE / "package.json").read_text())
    versions = [*packages["dependencies"].values(), *packages["devDependencies"].values()]
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in versions)
    assert '"resolved"' not in (TEMPLATE / "package-lock.json").read_text()
