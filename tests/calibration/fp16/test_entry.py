"""Which nodes a denoiser's inputs go through in FP32, and what that is worth."""

import numpy as np
import onnx
import pytest
from onnx import helper

from moebius_edge.calibration.fp16.entry import entry_nodes

MOVES = {"Concat", "Reshape"}
node = helper.make_node


def entry(*nodes: onnx.NodeProto, inputs: tuple[str, ...] = ("x", "mask")) -> dict[int, str]:
    return entry_nodes(nodes, inputs, MOVES)


def test_from_the_inputs_to_the_convolution_that_mixes_channels() -> None:
    nodes = (
        node("Mul", ["t", "f"], ["angle"]),
        node("Concat", ["x", "mask"], ["c"], axis=1),
        node("Conv", ["c", "w1"], ["d"], group=9),
        node("Relu", ["d"], ["r"]),
        node("Conv", ["r", "w2"], ["p"]),
        node("Relu", ["p"], ["q"]),
        node("Conv", ["q", "w3"], ["s"]),
    )
    assert entry(*nodes) == {1: "x", 2: "c", 3: "d", 4: "r"}


@pytest.mark.parametrize(
    "nodes",
    [
        (node("Conv", ["x", "w"], ["y"]),),  # mixes the channels at once: an autoencoder
        (node("Reshape", ["x", "shape"], ["y"]), node("Conv", ["y", "w"], ["z"])),
        (node("Relu", ["x"], ["y"]), node("Conv", ["y", "w"], ["z"], group=4)),  # not the inputs any more
        (node("Conv", ["hidden", "w"], ["z"], group=4),),
    ],
)
def test_other_beginnings_are_left_alone(nodes: tuple[onnx.NodeProto, ...]) -> None:
    assert entry(*nodes) == {}


def test_rounding_the_inputs_is_what_costs_late_in_the_loop() -> None:
    """noise = (x - a x0) / s with s = 0.03: an error of x counts 33 times."""
    rng = np.random.default_rng(0)
    x0, noise, s = rng.standard_normal(4096), rng.standard_normal(4096), 0.03
    x = np.sqrt(1 - s**2) * x0 + s * noise
    found = (x.astype(np.float16).astype(float) - np.sqrt(1 - s**2) * x0) / s
    assert 5e-3 < np.std(found - noise) < 2e-2  # 40 to 46 dB below the noise
