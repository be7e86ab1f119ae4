"""Run the FP32 PyTorch reference as a runtime: every other runtime is compared with it."""

from collections.abc import Mapping

import numpy as np
import torch
from diffusers import AutoencoderKL

from moebius_edge.bundle.manifest import tensor_names
from moebius_edge.common.tensors import Array
from moebius_edge.model.graphs import build_graphs
from moebius_edge.model.unet import Moebius


class TorchRuntime:
    """A runtime for the reference graphs on the CPU in FP32; the weights stay with the caller."""

    name = "torch"

    def __init__(self, model: Moebius, vae: AutoencoderKL) -> None:
        self.graphs = build_graphs(model, vae)

    def run(self, graph: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Evaluate one graph; names and shapes as in docs/graphs.md."""
        tensors = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in inputs.items()}
        with torch.inference_mode():
            outputs = self.graphs[graph](**tensors)
        if isinstance(outputs, torch.Tensor):
            outputs = (outputs,)
        return {name: out.numpy() for name, out in zip(tensor_names(graph)[1], outputs, strict=True)}

    def release(self, graph: str) -> None:
        """Do nothing: the modules belong to the caller."""
