"""A checkpoint in memory, the files that it is made of, and what identifies its weights."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from moebius_edge.model.config import MoebiusConfig, VAEConfig

if TYPE_CHECKING:
    from diffusers import AutoencoderKL
    from torch import nn

    from moebius_edge.model.unet import Moebius


@dataclass(frozen=True)
class Checkpoint:
    """The reference model and its autoencoder, in evaluation mode, float32, on the CPU."""

    name: str
    model: "Moebius"
    vae: "AutoencoderKL"
    config: MoebiusConfig
    vae_config: VAEConfig
    license: str  # SPDX identifier, or "unknown"
    source: str  # where the weights came from; no path of this machine
    origins: Mapping[str, str] = field(
        default_factory=dict
    )  # "unet", "vae" -> "REPOSITORY@COMMIT" of the hub
    guidance: float = 2.0  # default of its bundles, as is the next: by config.json, else the authors'
    strength: float = 0.99


@dataclass(frozen=True)
class CheckpointFiles:
    """Where the parts of a checkpoint are on this machine."""

    unet: Path
    vae: Path
    config: Path  # diffusers' config.json of the VAE, or ours with "unet" and "vae"
    card: Path | None = None  # the README.md beside the U-Net, whose first lines may name the licence


def parameter_count(model: "nn.Module") -> int:
    """Count the parameters of a model; statistics of norms are not counted.

    226,041,531 for the published model.
    """
    return sum(parameter.numel() for parameter in model.parameters())


def weights_sha256(checkpoint: Checkpoint) -> str:
    """Return the SHA-256 of all weights: of the model's, then of the VAE's.

    It covers the name, shape and float32 bytes of every tensor, sorted by name.
    """
    digest = hashlib.sha256()
    for part in (checkpoint.model, checkpoint.vae):
        for name, tensor in sorted(part.state_dict().items()):
            digest.update(f"{name} {list(tensor.shape)} {tensor.dtype}\n".encode())
            digest.update(memoryview(tensor.contiguous().numpy()).cast("B"))
    return digest.hexdigest()
