"""Which products of a graph are layers, and why the others are not."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from moebius_edge.common.errors import CalibrationError
from moebius_edge.onnx_tools.layers import Graph, find_layers, left_floats

CHANNELS, SIDE = 16, 8


def picture(*nodes: onnx.NodeProto, **weights: tuple[int, ...]) -> Graph:
    """A graph of `x` and `y` [1,CHANNELS,SIDE,SIDE]; the weights by shape, with their names' _ as a dot."""
    info = [helper.make_tensor_value_info(name, 1, [1, CHANNELS, SIDE, SIDE]) for name in "xy"]
    tensors = [
        numpy_helper.from_array(np.ones(shape, np.float32), name.replace("_", "."))
        for name, shape in weights.items()
    ]
    graph = helper.make_graph(nodes, "g", info[:1], info[1:], tensors)
    return Graph(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10))


def test_every_product_is_a_layer_or_has_a_reason() -> None:
    node = helper.make_node
    graph = picture(
        node("Conv", ["x", "wide.weight"], ["a"]),
        node("Conv", ["a", "each.conv.weight"], ["b"], group=CHANNELS, pads=[1] * 4),
        node("Conv", ["b", "narrow.weight"], ["c"]),
        node("Conv", ["c", "conv.out.depthwise.weight"], ["d"], pads=[1] * 4),
        node("MatMul", ["d", "many.table"], ["e"]),
        node("GlobalAveragePool", ["b"], ["f"]),
        node("Conv", ["f", "one.weight"], ["g"]),
        node("Add", ["b", "g"], ["y"]),
        wide_weight=(CHANNELS, CHANNELS, 1, 1),
        each_conv_weight=(CHANNELS, 1, 3, 3),
        narrow_weight=(4, CHANNELS, 1, 1),
        conv_out_depthwise_weight=(CHANNELS, 4, 3, 3),
        many_table=(CHANNELS, SIDE, SIDE),
        one_weight=(CHANNELS, CHANNELS, 1, 1),
    )
    layers = find_layers(graph)
    assert {name: layer.depthwise for name, layer in layers.items()} == {"wide": False, "each": True}
    assert layers["wide"].macs == SIDE * SIDE * CHANNELS * CHANNELS
    assert left_floats(graph) == {
        "narrow.weight": "few channels",
        "conv.out.depthwise.weight": "few channels",
        "many.table": "batched",
        "one.weight": "few positions",
    }


def test_two_layers_of_one_name_are_refused() -> None:
    node = helper.make_node
    graph = picture(
        node("Conv", ["x", "a.weight"], ["b"]),
        node("Conv", ["b", "a.conv.weight"], ["y"]),
        a_weight=(CHANNELS, CHANNELS, 1, 1),
        a_conv_weight=(CHANNELS, CHANNELS, 1, 1),
    )
    with pytest.raises(CalibrationError, match=r"a.weight and a.conv.weight would both be called a;"):
        find_layers(graph)
