"""What tests make slowly and never change: torch's exports and self-tests of checkpoints, kept between runs.

They lie in build/test-cache, in a folder named by the sources and versions that made them: a change of
these makes all anew. `tests/export/test_build.py` compares them with an export of its own.
"""

import hashlib
import os
import platform
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache
from importlib import metadata
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from filelock import FileLock
from safetensors.numpy import load_file, save_file

from moebius_edge.bundle.manifest import GRAPH_NAMES
from moebius_edge.calibration.activations.data import CalibrationOptions
from moebius_edge.checkpoints.checkpoint import Checkpoint, parameter_count, weights_sha256
from moebius_edge.common.progress import Stage
from moebius_edge.export import build
from moebius_edge.export.onnx import graphs
from moebius_edge.export.rewrites.forms import Forms

QUICK = CalibrationOptions(edits=4, steps_per_edit=4, steps=5)  # the least that calibration takes

ROOT = Path(__file__).parents[1]
CACHE = ROOT / "build" / "test-cache"
# What a graph or a self-test is made by, besides the weights, which are in a file's own key.
SOURCES = (
    "export/describe.py",
    "export/onnx",
    "export/rewrites",
    "moebius_edge/assets/samples",
    "moebius_edge/bundle/manifest.py",
    "moebius_edge/checking/capsule.py",
    "moebius_edge/common/samples.py",
    "moebius_edge/inpaint",
    "moebius_edge/inpainter.py",
    "moebius_edge/model",
    "moebius_edge/onnx_tools",
    "runtimes/torch.py",
    "tests/kept.py",
)
MOST_PARAMETERS = 50_000_000  # of a model whose graphs are kept: one test uses the full-size ones, 1 GB
PACKAGES = ("torch", "diffusers", "numpy", "onnx", "onnx-ir", "onnxscript", "onnxsim", "pillow")

export_anew = graphs.fp32_graphs
record_anew = build.record_capsule


@cache
def folder() -> Path:
    """Where this tree's files lie; those of other sources and versions are removed."""
    digest = hashlib.sha256()
    for path in (ROOT / name for name in SOURCES):
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and "__pycache__" not in file.parts:
                digest.update(f"{file.relative_to(ROOT)}\0".encode() + file.read_bytes())
    versions = [platform.machine(), platform.python_version(), torch.backends.cpu.get_cpu_capability()]
    digest.update(repr([*versions, *map(metadata.version, PACKAGES)]).encode())
    found = CACHE / digest.hexdigest()[:16]
    found.mkdir(parents=True, exist_ok=True)
    for other in CACHE.iterdir():
        if other != found:
            shutil.rmtree(other, ignore_errors=True)
    return found


def kept(key: str, make: Callable[[Path], None]) -> Path:
    """The file that `make(path)` writes, made where no run made it before."""
    path = folder() / hashlib.sha256(key.encode()).hexdigest()
    with FileLock(f"{path}.lock"):  # another process that is at it is waited for
        if not path.exists():
            part = path.with_suffix(f".{os.getpid()}")
            make(part)
            part.replace(path)
    return path


def export_once(
    checkpoint: Checkpoint,
    forms: Forms,
    kind: str = "deploy",
    progress: Stage | None = None,
    names: Sequence[str] = GRAPH_NAMES,
) -> dict[str, onnx.ModelProto]:
    """`fp32_graphs`, from the files that are kept; those of the full-size model are not."""
    if parameter_count(checkpoint.model) > MOST_PARAMETERS:
        return export_anew(checkpoint, forms, kind, progress, names)
    weights, models = _key(checkpoint), {}
    for done, name in enumerate(names):
        if progress is not None:
            progress(f"exporting the {name}", done, graphs.STAGES)
        models[name] = onnx.load(
            kept(
                f"{name} {kind} {_matters(name, forms) if kind == 'deploy' else None} {weights}",
                lambda path, name=name: onnx.save(  # type: ignore[misc]
                    export_anew(checkpoint, forms, kind, names=[name])[name], path
                ),
            )
        )
    return models


def record_once(checkpoint: Checkpoint) -> dict[str, np.ndarray]:
    """`record_capsule`, from the file that is kept."""
    return load_file(
        kept(f"capsule {_key(checkpoint)}", lambda path: save_file(record_anew(checkpoint), path))
    )


def _key(checkpoint: Checkpoint) -> str:
    return f"{asdict(checkpoint.config)} {asdict(checkpoint.vae_config)} {weights_sha256(checkpoint)}"


def _matters(name: str, forms: Forms) -> object:
    """What of the forms changes a graph."""
    decoder = {"decoder_upsample": forms.decoder_upsample, "decoder_shortcut": forms.decoder_shortcut}
    denoiser = asdict(forms).items() - decoder.items()
    return {"encoder": None, "decoder": decoder, "denoiser": sorted(denoiser)}[name]


@contextmanager
def replaced() -> Iterator[None]:
    """Within the block, `export_bundle` and whatever else exports takes what is kept."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graphs, "fp32_graphs", export_once)
        patch.setattr(build, "record_capsule", record_once)
        yield
