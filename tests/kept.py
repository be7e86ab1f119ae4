"""What tests make slowly and never change: torch's exports and self-tests of checkpoints, kept between runs.

They lie in build/test-cache, in a folder named by the sources and versions that made them: a change of
these makes all anew. `tests/export/test_build.py` compares them with an export of its own.
"""

import ast
import hashlib
import os
import platform
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache
from importlib import metadata
from importlib.util import find_spec
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
from moebius_edge.export import build, self_test
from moebius_edge.export.onnx import graphs
from moebius_edge.export.rewrites.forms import Forms

QUICK = CalibrationOptions(edits=4, steps_per_edit=4, steps=5)  # the least that calibration takes

ROOT = Path(__file__).parents[1]
CACHE = ROOT / "build" / "test-cache"
# What is kept is made by these modules with all that they import, from these files, by the rules of this one.
MAKERS = (graphs.__name__, self_test.__name__)
DATA = (*sorted(ROOT.glob("moebius_edge/assets/samples/*")), Path(__file__))
PACKAGES = ("torch", "diffusers", "numpy", "onnx", "onnx-ir", "onnxscript", "onnxsim", "pillow")
MOST_PARAMETERS = 50_000_000  # of a model whose graphs are kept: one test uses the full-size ones, 1 GB

export_anew = graphs.fp32_graphs
record_anew = build.record_capsule


def sources(module: str) -> set[Path]:
    """The files of a module and of those of this package that it imports, directly or not."""
    found: set[Path] = set()
    names = [module]
    while names:
        try:
            spec = find_spec(names.pop())
        except ModuleNotFoundError:  # a name in a module
            continue
        if spec is None or spec.origin is None or (path := Path(spec.origin)) in found:
            continue
        found.add(path)
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("moebius_edge"):
                names += [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
    return found


def digest(maker: str) -> str:
    """Of the sources and versions that make something."""
    found = hashlib.sha256()
    for file in (*sorted(sources(maker)), *DATA):
        found.update(f"{file.name}\0".encode() + file.read_bytes())
    versions = [platform.machine(), platform.python_version(), torch.backends.cpu.get_cpu_capability()]
    found.update(repr([*versions, *map(metadata.version, PACKAGES)]).encode())
    return found.hexdigest()[:16]


@cache
def folders() -> dict[str, Path]:
    """Where the files of each maker lie; those of other sources and versions are removed."""
    found = {maker: CACHE / digest(maker) for maker in MAKERS}
    for path in found.values():
        path.mkdir(parents=True, exist_ok=True)
    for other in set(CACHE.iterdir()) - set(found.values()):
        shutil.rmtree(other, ignore_errors=True)
    return found


def kept(key: str, make: Callable[[Path], None], maker: str = graphs.__name__) -> Path:
    """The file that `make(path)` writes, made where no run made it before."""
    path = folders()[maker] / hashlib.sha256(key.encode()).hexdigest()
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
        kept(_key(checkpoint), lambda path: save_file(record_anew(checkpoint), path), self_test.__name__)
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
