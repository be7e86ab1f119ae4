"""Graphs as two files."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from moebius_edge.onnx_tools.external_data import remove, save


def graph(seed: int) -> onnx.ModelProto:
    weight = np.random.default_rng(seed).standard_normal((32, 32)).astype(np.float32)
    x, y = (helper.make_tensor_value_info(name, 1, (1, 32)) for name in "xy")
    tensors = [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(weight[0], "b")]
    nodes = [helper.make_node("Gemm", ["x", "w", "b"], ["y"])]
    return helper.make_model(helper.make_graph(nodes, "test", [x], [y], tensors))


def test_saved_from_a_folder_that_has_such_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one who exports while standing in another bundle."""
    for seed, name in enumerate(("here", "there")):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        for folder in ("here", "there")[: seed + 1]:
            remove(tmp_path / folder / "denoiser.onnx")
            save(graph(seed), tmp_path / folder / "denoiser.onnx")
            found = onnx.load(tmp_path / folder / "denoiser.onnx")
            for tensor, expected in zip(found.graph.initializer, graph(seed).graph.initializer, strict=True):
                np.testing.assert_array_equal(numpy_helper.to_array(tensor), numpy_helper.to_array(expected))
            assert (tmp_path / folder / "denoiser.onnx.data").stat().st_size == 32 * 32 * 4  # not the bias
    save(graph(2), tmp_path / "here" / "other.onnx")
    remove(tmp_path / "here" / "other.onnx")
    assert sorted(path.name for path in (tmp_path / "here").iterdir()) == [
        "denoiser.onnx",
        "denoiser.onnx.data",
    ]
