"""What `npm run build` makes of a package."""

import gzip
from pathlib import Path

import pytest

from moebius_edge.packaging.platforms import PLATFORMS

pytestmark = pytest.mark.full  # it is built anyway, for the browser


def test_what_comes_besides_the_model(site: Path) -> None:
    """The sizes that `package --dry-run` names, of the build and of gzip as hosts use it."""
    files = [path for path in site.rglob("*") if path.is_file() and site / "model" not in path.parents]
    engines = sorted((path for path in files if path.suffix == ".wasm"), key=lambda path: path.stat().st_size)
    parts = [[path for path in files if path not in engines], *([path] for path in engines)]
    assert len(parts) == len(PLATFORMS["web"].additions)
    for addition, part in zip(PLATFORMS["web"].additions, parts, strict=True):
        contents = [path.read_bytes() for path in part]
        assert sum(map(len, contents)) / 1e6 == pytest.approx(addition.megabytes, abs=0.1), addition.what
        compressed = sum(len(gzip.compress(content, 6)) for content in contents) / 1e6
        assert compressed == pytest.approx(addition.compressed_mb, abs=0.1), addition.what
