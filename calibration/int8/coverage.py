"""Find how much of a graph ONNX Runtime really runs quantized, from its optimized graph.

A Q/DQ pair only asks for integers; what counts is whether the engine fuses it. Layers are recognised by the
names of their weights, which the engine keeps.
"""

import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnxruntime as ort

from moebius_edge.onnx_tools.layers import Graph, find_layers
from moebius_edge.onnx_tools.macs import INTEGER, count_macs
from moebius_edge.onnx_tools.sessions import engine_errors, session_options


@dataclass(frozen=True)
class Coverage:
    """How many layers and multiply-accumulates run in integers."""

    layers: int  # quantized layers, fused
    wished: int  # layers with Q/DQ
    quantized_macs: int  # of one run, in the fused layers
    macs: int  # of one run, in all


def coverage(fp32: onnx.ModelProto, quantized: Path) -> Coverage:
    """Compare the engine's form of the file `quantized` with the FP32 graph that it was made from.

    Raises CalibrationError when the engine cannot load the file, or its folder is full.
    """
    layers = {layer.weight: layer for layer in find_layers(Graph(fp32)).values()}
    wished = {node.input[0] for node in onnx.load(quantized, load_external_data=False).graph.node}
    fused: Counter[str] = Counter()
    for node in _optimized(quantized).graph.node:
        if node.op_type in INTEGER:
            fused.update(name.removesuffix(".q") for name in node.input if name.endswith(".q"))
    found = [layer for weight, layer in layers.items() if weight in fused]
    return Coverage(
        layers=len(found),
        wished=sum(f"{weight}.q" in wished for weight in layers),
        quantized_macs=sum(layer.macs for layer in found),
        macs=count_macs(fp32),
    )


def _optimized(path: Path) -> onnx.ModelProto:
    """Return the graph that the engine makes of a file, without its weights."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        file = Path(folder) / "optimized.onnx"
        options = session_options()
        options.optimized_model_filepath = str(file)
        options.add_session_config_entry("session.optimized_model_external_initializers_file_name", "weights")
        options.add_session_config_entry(
            "session.optimized_model_external_initializers_min_size_in_bytes", "256"
        )
        with engine_errors(f"ONNX Runtime cannot optimize {path.name}"):
            ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        return onnx.load(file, load_external_data=False)
