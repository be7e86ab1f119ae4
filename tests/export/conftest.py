"""Small models with every tensor filled, and their reference graphs."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from moebius_edge.bundle.folder import Bundle
from moebius_edge.calibration.activations.calibrate import draw_pairs, follow, record
from moebius_edge.calibration.activations.data import Followed
from moebius_edge.calibration.activations.recording import Recording
from moebius_edge.checkpoints.load import Checkpoint, load_checkpoint, weights_sha256
from moebius_edge.checkpoints.synthetic import fill_by_rule
from moebius_edge.common.tensors import Array
from moebius_edge.export.rewrites.forms import Forms
from moebius_edge.model.config import MoebiusConfig
from moebius_edge.model.unet import Moebius
from tests import exports
from tests.exports import QUICK, export_once

# Latents of 32, 16 and 8: tiles of 8 columns, and whole rows. No other dimension is 52 or 44.
CONFIG = MoebiusConfig(
    block_out_channels=(32, 64, 128), latent_size=32, embedding_dim=52, cross_attention_dim=44, num_heads=4
)


@pytest.fixture(scope="session", autouse=True)
def _exported_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    yield from exports.remembered(tmp_path_factory)


@pytest.fixture(scope="session")
def model() -> Moebius:
    with torch.device("meta"):
        built = Moebius(CONFIG)
    built.to_empty(device="cpu")
    fill_by_rule(built)
    return built.eval().requires_grad_(False)


@pytest.fixture(scope="session")
def checkpoint(tiny_checkpoint: Path) -> Checkpoint:
    """8 x 8 pixels, 4 x 4 latents."""
    return load_checkpoint(str(tiny_checkpoint))


Models = dict[str, onnx.ModelProto]


@pytest.fixture(scope="session")
def last(checkpoint: Checkpoint) -> Models:
    return export_once(checkpoint, Forms(layout="channels_last"))


@pytest.fixture(scope="session")
def first(checkpoint: Checkpoint) -> Models:
    return export_once(checkpoint, Forms())


@pytest.fixture(scope="session")
def seen(last: Models) -> Followed:
    return follow(last, draw_pairs(None, 8, QUICK), QUICK)


@pytest.fixture(scope="session")
def recording(checkpoint: Checkpoint, last: Models, seen: Followed) -> Recording:
    return record(last["denoiser"], seen.samples["denoiser"], weights_sha256(checkpoint), QUICK)


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
