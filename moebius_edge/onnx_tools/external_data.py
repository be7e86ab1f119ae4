"""Write an ONNX graph as two files: NAME, and NAME.data with its large weights."""

from pathlib import Path

import onnx
from onnx.external_data_helper import set_external_data

EXTERNAL_BYTES = 1024  # weights from this size on go to the second file, which engines map instead of parsing


def save(model: onnx.ModelProto, path: Path) -> None:
    """Write a graph to `path` and its large weights to `path`.data beside it.

    Large is `EXTERNAL_BYTES` and more. `model` then only refers to those weights.
    """
    for tensor in model.graph.initializer:
        if len(tensor.raw_data) >= EXTERNAL_BYTES:
            # Not by an option of save_model: that refuses when the current folder has a file of this name.
            set_external_data(tensor, _weights(path).name)
    onnx.save_model(model, path)


def remove(path: Path) -> None:
    """Remove the files that `save` has written for this `path`."""
    for file in (path, _weights(path)):
        file.unlink(missing_ok=True)


def _weights(path: Path) -> Path:
    return path.with_name(path.name + ".data")
