"""What the exported graphs contain. (The same bytes every time: tests/export/test_build.py.)"""

import copy
import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from moebius_edge.export.onnx.graph import ComponentSpec, share_initializers, to_onnx
from moebius_edge.export.rewrites.forms import Forms
from moebius_edge.model.config import CONFIGS, MoebiusConfig
from moebius_edge.model.graphs import Denoiser
from moebius_edge.model.unet import Moebius
from moebius_edge.onnx_tools.external_data import save
from moebius_edge.onnx_tools.macs import count_macs
from tests.export.conftest import NAMES, denoiser_inputs, operators, run


def initializers(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def test_onnx_runtime_computes_the_reference(
    deployed: onnx.ModelProto, model: Moebius, tmp_path: Path
) -> None:
    save(copy.deepcopy(deployed), tmp_path / "denoiser.onnx")
    inputs = denoiser_inputs(model.config.latent_size)
    feeds = {name: tensor.numpy() for name, tensor in zip(NAMES, inputs, strict=True)}
    (found,) = ort.InferenceSession(tmp_path / "denoiser.onnx").run(None, feeds)
    expected = run(Denoiser(model), *inputs).numpy()
    assert np.abs(found - expected).max() < 1e-4 * expected.std()


def test_the_deploy_graph_has_only_what_it_needs(deployed: onnx.ModelProto, model: Moebius) -> None:
    assert not {"Einsum", "BatchNormalization", "GatherND", "Resize"} & operators(deployed)
    weights = initializers(deployed)
    convolutions = [node for node in deployed.graph.node if node.op_type == "Conv"]
    assert all(weights[node.input[1]].ndim == 4 for node in convolutions), "a 3-D convolution is left"
    large = [value.tobytes() for value in weights.values() if value.nbytes > 256]
    assert len(large) == len(set(large)), "a large initializer is stored twice"


def test_the_conditioning_weights_have_left_the_deploy_graph(
    deployed: onnx.ModelProto, model: Moebius
) -> None:
    config = model.config
    shapes = {value.shape for value in initializers(deployed).values()}
    for shape in shapes:
        assert not {config.embedding_dim, config.cross_attention_dim} & set(shape), shape


def macs_saved(config: MoebiusConfig, forms: Forms) -> int:
    """What the direct denoiser multiplies and the deploy denoiser does not, rewrite by rewrite, but for the
    projections of the categories.

    The rewrites are those of docs/graphs.md. C: width, k = C / heads, N: positions, m: categories.
    """
    assert forms.upsample == "difference"
    heads, window, m = config.num_heads, config.position_window, config.prompt_tokens
    first, time = config.block_out_channels[0], config.time_embedding_dim
    saved = first * time + time**2  # the time embedding, of one picture instead of two

    def window_form(size: int) -> int:
        """Scores and their product with the values, per position and channel."""
        tile = forms.tile(size)
        return 2 * window * (size if tile == size else tile + window - 1)

    for i, c in enumerate(config.block_out_channels):
        size, k = config.latent_size >> i, c // heads
        n = size**2
        local = n * (window**2 * k**2 + c * k - c * window_form(size))
        interactive = n * (m * k**2 + 2 * c * k - 3 * c * m)
        units = config.down_layers + config.up_layers
        saved += units * (2 * local + 2 * interactive + time * c)  # time * c: the time's projection
        if i:  # nearest x2 and nine taps: 36 products per pixel become 1 + 2 + 2 + 4, and some at borders
            taps = size**2 + 2 * 2 * size * (size + 1) + 4 * (size + 1) ** 2
            saved += 2 * c**2 * (36 * n - taps)
    # One picture instead of two up to the first Interactive-λ: conv_in, the first residual block, the unit's
    # projection, Local-λ, and of Interactive-λ the queries and their product with the position table.
    n, c, k = config.latent_size**2, first, first // heads
    inputs = config.in_channels
    saved += n * (9 * inputs + inputs * c) + 2 * n * (9 * c + c**2) + n * c**2
    saved += n * (c**2 + 2 * c * k + k**2 + c * k + c * window_form(config.latent_size))
    return saved + n * (c**2 + c * m)


def macs_of_categories(config: MoebiusConfig) -> int:
    """The rest of what is saved: encoder_hid_proj, and to_k, to_v and K^T V of each Interactive-λ."""
    m, width = config.prompt_tokens, config.cross_attention_dim
    dims = [c // config.num_heads for c in config.block_out_channels]
    units = config.down_layers + config.up_layers
    layers = units * sum(m * width * 2 * k + m * k**2 for k in dims)
    return 2 * (m * config.embedding_dim * width + layers)


def test_the_deploy_graph_has_fewer_multiplications_by_what_the_rewrites_save(
    deployed: onnx.ModelProto, direct: onnx.ModelProto, model: Moebius
) -> None:
    assert "Einsum" in operators(direct)
    # In a model as small as this the exporter itself folds the categories' projections: both lack them.
    assert count_macs(direct) - count_macs(deployed) == macs_saved(model.config, Forms())


def test_the_documented_multiplications_of_the_full_size_are_what_the_rewrites_save() -> None:
    text = (Path(__file__).parents[3] / "docs" / "graphs.md").read_text()
    found = re.search(r"at full size, counted on the graphs: (\S+) G direct, (\S+) G deploy", text)
    assert found is not None
    full = CONFIGS["moebius"]
    saved = macs_saved(full, Forms()) + macs_of_categories(full)
    assert abs(saved / 1e9 - (float(found[1]) - float(found[2]))) <= 0.1  # both numbers are rounded to 0.1


def test_nothing_in_the_graph_describes_the_machine(deployed: onnx.ModelProto) -> None:
    text = deployed.SerializeToString()
    assert b"site-packages" not in text
    assert b".py" not in text
    assert str(Path(__file__).parents[3]).encode() not in text


def test_equal_initializers_are_shared_and_unused_ones_dropped() -> None:
    values = {"a": np.ones(4, np.float32), "b": np.ones(4, np.float32), "c": np.ones(4, np.int32)}
    values["unused"] = np.zeros(3, np.float32)
    nodes = [helper.make_node("Add", ["x", "a"], ["y"]), helper.make_node("Add", ["y", "b"], ["z"])]
    nodes.append(helper.make_node("Cast", ["c"], ["w"], to=TensorProto.FLOAT))
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in "xzw"]
    tensors = [numpy_helper.from_array(value, name) for name, value in values.items()]
    graph = helper.make_model(helper.make_graph(nodes, "g", info[:1], info[1:], tensors))
    share_initializers(graph)
    assert [tensor.name for tensor in graph.graph.initializer] == ["a", "c"]
    assert [list(node.input) for node in graph.graph.node] == [["x", "a"], ["y", "a"], ["c"]]


def test_macs_are_counted_by_hand() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(4, 8, 3, padding=1, groups=2)
            self.linear = nn.Linear(8, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y: torch.Tensor = self.linear(self.conv(x).flatten(2).transpose(1, 2))
            return torch.einsum("bnc,bmc->bnm", y, y)

    graph = to_onnx(
        ComponentSpec("net", Net().eval(), {"x": torch.zeros(1, 4, 6, 6)}, ("y",)), simplify=False
    )
    conv, linear, einsum = 8 * 36 * 2 * 9, 36 * 8 * 5, 36 * 36 * 5
    assert count_macs(graph) == conv + linear + einsum
