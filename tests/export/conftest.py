"""A model with three levels, and what tests say of graphs."""

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from moebius_edge.bundle.folder import Bundle
from moebius_edge.checkpoints.synthetic import fill_by_rule
from moebius_edge.common.tensors import Array
from moebius_edge.export.onnx.graph import ComponentSpec, to_onnx
from moebius_edge.export.rewrites.deploy import DeployDenoiser
from moebius_edge.export.rewrites.forms import Forms
from moebius_edge.model.config import MoebiusConfig
from moebius_edge.model.graphs import Denoiser
from moebius_edge.model.unet import Moebius
from tests.kept import kept

# Latents of 32, 16 and 8: tiles of 8 columns, and whole rows. No other dimension is 52 or 44.
CONFIG = MoebiusConfig(
    block_out_channels=(32, 64, 128), latent_size=32, embedding_dim=52, cross_attention_dim=44, num_heads=4
)


@pytest.fixture(scope="session")
def model() -> Moebius:
    with torch.device("meta"):
        built = Moebius(CONFIG)
    built.to_empty(device="cpu")
    fill_by_rule(built)
    return built.eval().requires_grad_(False)


Models = dict[str, onnx.ModelProto]
NAMES = ("latents", "mask", "masked_latents", "timestep", "guidance")


def denoiser_graph(module: nn.Module, size: int, simplify: bool) -> onnx.ModelProto:
    """A denoiser with latents of this size, exported here and now."""
    inputs = dict(zip(NAMES, denoiser_inputs(size), strict=True))
    return to_onnx(ComponentSpec("denoiser", module.eval(), inputs, ("noise",)), simplify=simplify)


@pytest.fixture(scope="session")
def deployed(model: Moebius) -> onnx.ModelProto:
    """Its graph as it is shipped. A test that changes it changes a copy."""
    with torch.no_grad():
        module = DeployDenoiser(model, Forms())
    size = model.config.latent_size
    return onnx.load(
        kept(f"deployed {CONFIG}", lambda path: onnx.save(denoiser_graph(module, size, True), path))
    )


@pytest.fixture(scope="session")
def direct(model: Moebius) -> onnx.ModelProto:
    """Its graph as the reference computes."""
    module, size = Denoiser(model), model.config.latent_size
    return onnx.load(
        kept(f"direct {CONFIG}", lambda path: onnx.save(denoiser_graph(module, size, False), path))
    )


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def relative_error(found: Tensor, expected: Tensor) -> float:
    """Largest difference, in standard deviations of what is expected."""
    assert found.shape == expected.shape
    return float((found - expected).abs().max() / expected.std())


def denoiser_inputs(size: int) -> tuple[Tensor, ...]:
    mask = (random(1, 1, size, size, seed=1) > 0).float()
    latents, masked = random(1, 4, size, size), random(1, 4, size, size, seed=2)
    return latents, mask, masked, torch.tensor([900.0]), torch.tensor([2.0])


def graph_inputs(bundle: Bundle, graph: str) -> dict[str, Array]:
    rng = np.random.default_rng(0)
    inputs = bundle.manifest.graphs[graph].inputs
    return {spec.name: rng.random(spec.shape, dtype=np.float32) for spec in inputs}


def operators(graph: onnx.ModelProto) -> set[str]:
    """The operator types of a graph."""
    return {node.op_type for node in graph.graph.node}


def run(module: nn.Module, *inputs: Tensor) -> Tensor:
    with torch.inference_mode():
        out: Tensor = module(*inputs)
    return out
