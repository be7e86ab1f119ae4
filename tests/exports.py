"""torch's export takes most of a test's time: here a graph is exported once per run, for all processes."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import onnx
import pytest
from filelock import FileLock

from moebius_edge.bundle.manifest import GRAPH_NAMES
from moebius_edge.calibration.activations.data import CalibrationOptions
from moebius_edge.checkpoints.load import Checkpoint, weights_sha256
from moebius_edge.common.progress import Stage
from moebius_edge.export.onnx import graphs
from moebius_edge.export.rewrites.forms import Forms

QUICK = CalibrationOptions(edits=4, steps_per_edit=4, steps=5)  # the least that calibration takes

export_anew = graphs.fp32_graphs
_folder: list[Path] = []  # of the run; empty before `remembered`


def export_once(
    checkpoint: Checkpoint,
    forms: Forms,
    kind: str = "deploy",
    progress: Stage | None = None,
    names: Sequence[str] = GRAPH_NAMES,
) -> dict[str, onnx.ModelProto]:
    """`fp32_graphs`, from a file where these weights were exported in these forms before."""
    weights, models = weights_sha256(checkpoint), {}
    for done, name in enumerate(names):
        if progress is not None:
            progress(f"exporting the {name}", done, graphs.STAGES)
        key = f"{weights} {name} {kind} {_matters(name, forms)}"
        path = _folder[0] / f"{hashlib.sha256(key.encode()).hexdigest()}.onnx"
        with FileLock(f"{path}.lock"):  # another process that is at it is waited for
            if not path.exists():
                onnx.save(export_anew(checkpoint, forms, kind, names=[name])[name], path)
        models[name] = onnx.load(path)
    return models


def _matters(name: str, forms: Forms) -> object:
    """What of the forms changes a graph."""
    decoder = {"decoder_upsample": forms.decoder_upsample, "decoder_shortcut": forms.decoder_shortcut}
    denoiser = asdict(forms).items() - decoder.items()
    return {"encoder": None, "decoder": decoder, "denoiser": sorted(denoiser)}[name]


def remembered(folders: pytest.TempPathFactory) -> Iterator[None]:
    """The body of a session fixture: exports of this run take graphs from files that its processes share."""
    base = folders.getbasetemp()
    # A worker of xdist has a folder of its own in that of the run.
    shared = (base.parent if base.name.startswith("popen-") else base) / "exports"
    shared.mkdir(exist_ok=True)
    _folder[:] = [shared]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graphs, "fp32_graphs", export_once)
        yield
