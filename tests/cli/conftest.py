"""The command line as a function, and a bundle, a photo and a mask for it."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from moebius_edge import __main__ as entry
from moebius_edge.bundle.folder import Bundle, seal


@dataclass(frozen=True)
class Answer:
    """What a command did."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Standard output, which must be JSON and nothing else."""
        return json.loads(self.out)


@pytest.fixture
def moebius(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Answer]:
    """`moebius("verify", path)` runs the command line in this process."""

    def run(*arguments: object) -> Answer:
        capsys.readouterr()
        monkeypatch.setattr("sys.argv", ["moebius-edge", *(str(argument) for argument in arguments)])
        with pytest.raises(SystemExit) as stop:
            entry.main()
        code = stop.value.code
        assert code is None or isinstance(code, int)
        return Answer(code or 0, *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def checkpoint(small_checkpoint: Path) -> Path:
    """A local checkpoint folder, weights by the filling rule."""
    return small_checkpoint


@pytest.fixture(scope="session")
def exported(small: Bundle) -> Path:
    """The bundle of that checkpoint, for ONNX Runtime. Never changed by a test."""
    return small.folder


@pytest.fixture
def spoiled(exported: Path, tmp_path: Path) -> Callable[..., Path]:
    """`spoiled(graph, change)`: a copy of the bundle, its ONNX graph changed, its hashes redone."""

    def make(graph: str, change: Callable[[onnx.ModelProto], None]) -> Path:
        folder = tmp_path / "spoiled.moebius"
        shutil.copytree(exported, folder)
        path = folder / f"{graph}.onnx"
        model = onnx.load(path)
        change(model)
        for file in folder.glob(f"{graph}.onnx*"):
            file.unlink()
        onnx.save_model(model, path)
        seal(folder, replace(Bundle.open(exported).manifest, files={}))
        return folder

    return make


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A photo of 80 x 72 pixels."""
    rows, columns = np.mgrid[0:72, 0:80]
    pixels = np.stack([rows * 3, columns * 3, rows + columns], axis=-1).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.fixture
def mask(tmp_path: Path) -> Path:
    """Its mask."""
    pixels = np.zeros((72, 80), np.uint8)
    pixels[30:40, 34:46] = 255
    Image.fromarray(pixels).save(tmp_path / "mask.png")
    return tmp_path / "mask.png"
