"""The .ort files of each precision are within the limits of what is opened, and their sizes are found.

Mixed precision has the operators of int8 and of fp32.
"""

from dataclasses import astuple
from pathlib import Path

import onnx
import pytest

from moebius_edge.calibration.activations.data import Followed
from moebius_edge.calibration.activations.recording import Recording
from moebius_edge.calibration.precisions import Conversion
from moebius_edge.calibration.precisions import convert as in_precision
from moebius_edge.export.targets.ort_mobile.ort_format import structure
from moebius_edge.export.targets.ort_mobile.target import convert, style_of
from moebius_edge.onnx_tools import external_data
from moebius_edge.precisions import PRECISIONS
from moebius_edge.runtimes.graph_limits import MOST, Values, graph_sizes
from tests.export.conftest import Models


@pytest.mark.parametrize("precision", ["fp32", "fp16", "w8", "int8"])
def test_ort_files_of_every_precision_are_within_the_limits(
    first: Models, last: Models, seen: Followed, recording: Recording, precision: str, tmp_path: Path
) -> None:
    models = last if PRECISIONS[precision].calibrated else first
    graphs = in_precision(
        models, precision, Conversion("onnxruntime", "mse", recording=recording, seen=seen)
    )[0]
    for name, model in graphs.items():
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        external_data.save(copy, tmp_path / f"{name}.onnx")
        path = tmp_path / f"{name}.ort"
        convert(tmp_path / f"{name}.onnx", path, style_of(precision).minimal)
        graph = structure(path).graph
        expected = {
            info.name: tuple(side.dim_value for side in info.type.tensor_type.shape.dim)
            for info in graph.value_info
            if info.type.tensor_type.HasField("shape")
        }
        values: Values = {}
        inputs = {each.name: expected[each.name] for each in graph.input}
        sizes = graph_sizes(path, inputs, {path.name: path.stat().st_size}, values)
        shared = expected.keys() & values.keys()
        assert {key: values[key].shape for key in shared} == {key: expected[key] for key in shared}
        assert len(shared) > len(graph.node)
        assert all(20 * found < most for found, most in zip(astuple(sizes), astuple(MOST), strict=True))
