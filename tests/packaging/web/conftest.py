"""Packages for the web, built and hosted, and a browser to open them in."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from moebius_edge.bundle.folder import Bundle
from moebius_edge.checking.verify import verify
from moebius_edge.packaging import package
from moebius_edge.runtimes import open_runtime
from tests.packaging.web.project import Host, chromium, hosted, node_modules, run


@pytest.fixture(scope="session")
def nano(kept: None, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """nano, FP32. MOEBIUS_EDGE_NANO: a bundle that was exported before, to save the time."""
    if given := os.environ.get("MOEBIUS_EDGE_NANO"):
        return Bundle.open(given)
    # Here, because they need torch, and a test that is skipped does not.
    from moebius_edge.checkpoints.load import load_checkpoint  # noqa: PLC0415
    from moebius_edge.export.build import export_bundle  # noqa: PLC0415

    return export_bundle(load_checkpoint("nano"), tmp_path_factory.mktemp("bundle") / "nano.moebius")


def packaged(bundle: Bundle, folder: Path) -> Path:
    """The project that `moebius-edge package` makes."""
    licence = folder.with_suffix(".txt")
    licence.write_text("Do what you like.\n")
    given = None if bundle.manifest.model.license == "Apache-2.0" else licence
    web = package.find_platform("web")
    package.write(bundle, web, folder, lambda b: verify(b, open_runtime(b)), license_file=given)
    return folder


@pytest.fixture(scope="session")
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the small model: what `moebius-edge package` and `npm run build` make."""
    packages = node_modules()
    folder = packaged(request.getfixturevalue("small"), tmp_path_factory.mktemp("package") / "small-web")
    (folder / "node_modules").symlink_to(packages)
    done = run(["npm", "run", "build"], folder)
    assert done.returncode == 0, done.stdout
    return folder / "dist"


@pytest.fixture(scope="session")
def nano_site(site: Path, nano: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with nano: what is built does not depend on the model."""
    folder = tmp_path_factory.mktemp("package")
    public = packaged(nano, folder / "nano-web") / "public"
    shutil.copytree(site, folder / "dist", ignore=shutil.ignore_patterns("model"))
    shutil.copytree(public, folder / "dist", dirs_exist_ok=True)
    return folder / "dist"


@pytest.fixture(scope="session")
def _host(site: Path) -> Iterator[Host]:
    with hosted(site) as host:
        yield host


@pytest.fixture
def host(_host: Host) -> Host:
    """The built page on loopback; it has sent nothing yet."""
    _host.sent.clear()
    _host.cut.clear()
    return _host


@pytest.fixture(scope="session")
def browser() -> Iterator[object]:
    """A headless Chromium, driven by Playwright."""
    sync_api = pytest.importorskip(
        "playwright.sync_api", reason="Playwright is not installed: pip install -e .[dev]"
    )
    path = chromium()
    with sync_api.sync_playwright() as playwright:
        options = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=path, args=options)
        yield browser
        browser.close()
