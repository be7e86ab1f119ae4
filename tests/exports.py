"""torch's export takes most of a test's time; here one checkpoint's graphs are exported once per session."""

from collections.abc import Iterator, Sequence

import onnx
import pytest

from moebius_edge.calibration.data import CalibrationOptions
from moebius_edge.checkpoints import Checkpoint, fingerprint
from moebius_edge.export import graphs
from moebius_edge.export.forms import Forms
from moebius_edge.manifest import GRAPH_NAMES
from moebius_edge.progress import Stage

Key = tuple[str, Forms, str]

QUICK = CalibrationOptions(edits=4, steps_per_edit=4, steps=5)  # the least that calibration takes

export_anew = graphs.fp32_graphs
_seen: dict[Key, dict[str, onnx.ModelProto]] = {}


def export_once(
    checkpoint: Checkpoint,
    forms: Forms,
    kind: str = "deploy",
    progress: Stage | None = None,
    names: Sequence[str] = GRAPH_NAMES,
) -> dict[str, onnx.ModelProto]:
    """`fp32_graphs`, from memory where these weights were exported in these forms before; copies."""
    key = (fingerprint(checkpoint), forms, kind)
    if key not in _seen:
        _seen[key] = export_anew(checkpoint, forms, kind)
    copies = {}
    for done, name in enumerate(names):
        if progress is not None:
            progress(f"exporting the {name}", done, graphs.STAGES)
        copies[name] = onnx.ModelProto()
        copies[name].CopyFrom(_seen[key][name])
    return copies


def remembered() -> Iterator[None]:
    """The body of a session fixture: exports in this process take graphs from memory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graphs, "fp32_graphs", export_once)
        yield
