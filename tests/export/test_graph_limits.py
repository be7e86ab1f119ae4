"""What the exporters write stays far within the limits of what is opened, and its sizes are found right."""

from dataclasses import astuple
from pathlib import Path

import onnx
import pytest

from moebius_edge.calibration.activations.data import Followed
from moebius_edge.calibration.activations.recording import Recording
from moebius_edge.calibration.precisions import Conversion, convert
from moebius_edge.onnx_tools import external_data
from moebius_edge.precisions import PRECISIONS
from moebius_edge.runtimes.graph_limits import MOST, Values, graph_sizes
from moebius_edge.runtimes.onnx_file import MAX_NODES
from tests.export.conftest import Models


def inferred(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """Value -> shape, by onnx's own inference."""
    found = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    return {
        info.name: tuple(side.dim_value for side in info.type.tensor_type.shape.dim)
        for info in (*found.graph.value_info, *found.graph.output)
        if info.type.tensor_type.HasField("shape")
        and all(side.HasField("dim_value") for side in info.type.tensor_type.shape.dim)
    }


def check(model: onnx.ModelProto, path: Path) -> int:
    """Compare the shapes of all values with onnx's; return how many there were."""
    expected = inferred(model)
    inputs = {
        each.name: tuple(side.dim_value for side in each.type.tensor_type.shape.dim)
        for each in model.graph.input
    }
    nodes = len(model.graph.node)
    external_data.save(model, path)
    values: Values = {}
    sizes = graph_sizes(path, inputs, {f.name: f.stat().st_size for f in path.parent.iterdir()}, values)
    shared = expected.keys() & values.keys()
    assert {name: values[name].shape for name in shared} == {name: expected[name] for name in shared}
    assert 4 * nodes < MAX_NODES
    # A tiny model: the factors of the full size are in docs/bundle.md.
    assert all(20 * found < most for found, most in zip(astuple(sizes), astuple(MOST), strict=True))
    return len(shared)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "w8", "w4", "int8"])
@pytest.mark.parametrize("engine", ["onnxruntime", "tensorrt"])
def test_graphs_of_every_precision_are_within_the_limits(
    first: Models,
    last: Models,
    seen: Followed,
    recording: Recording,
    precision: str,
    engine: str,
    tmp_path: Path,
) -> None:
    models = last if PRECISIONS[precision].calibrated else first
    graphs = convert(models, precision, Conversion(engine, "mse", recording=recording, seen=seen))[0]
    for name, model in graphs.items():
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        # onnx does not know the operators of com.microsoft, nor what follows from them
        assert check(copy, tmp_path / f"{name}.onnx") > 0.4 * len(model.graph.node)


def test_a_direct_graph_is_within_the_limits(direct: onnx.ModelProto, tmp_path: Path) -> None:
    copy = onnx.ModelProto()
    copy.CopyFrom(direct)
    assert check(copy, tmp_path / "denoiser.onnx") > 0.8 * len(direct.graph.node)
