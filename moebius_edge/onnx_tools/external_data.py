"""An ONNX graph as two files: NAME, and NAME.data with its large weights."""

from pathlib import Path

import onnx
from onnx.external_data_helper import set_external_data

EXTERNAL_BYTES = 1024  # weights from this size on go to the second file, which engines map instead of parsing


def save(model: onnx.ModelProto, path: Path) -> None:
    """Write `path` and, beside it, `path`.data with the large weights, which `model` then only refers to."""
    for tensor in model.graph.initializer:
        if len(tensor.raw_data) >= EXTERNAL_BYTES:
            # Not by an option of save_model: that refuses when the current folder has a file of this name.
            set_external_data(tensor, _weights(path).name)
    onnx.save_model(model, path)


def remove(path: Path) -> None:
    """Remove what `save` has written."""
    for file in (path, _weights(path)):
        file.unlink(missing_ok=True)


def _weights(path: Path) -> Path:
    return path.with_name(path.name + ".data")
