"""Write weights as they are shipped: safetensors in half precision with one config.json for both models.

The config.json also has the SHA-256 of each weight file, which loading compares
(`moebius_edge.checkpoints.hashes`).
"""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from moebius_edge.checkpoints.hashes import SHA256, check_sha256
from moebius_edge.common.errors import CheckpointError
from moebius_edge.common.files import sha256_of, write_atomically
from moebius_edge.model.config import MoebiusConfig, VAEConfig
from moebius_edge.model.unet import Moebius
from moebius_edge.model.vae import build_vae

Model = TypeVar("Model", bound=nn.Module)
Config = TypeVar("Config")

PARTS = {"vae": "autoencoder", "unet": "U-Net"}
NANO = Path(__file__).parent.parent / "assets" / "nano"


def to_half(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return float tensors as float16, integers as they are.

    Raises `CheckpointError` if a value does not fit. A variance must not round to zero, so those below the
    smallest normal float16, 6e-5, are raised to it.
    """
    smallest = torch.finfo(torch.float16).smallest_normal
    half = {}
    for name, value in state.items():
        if not value.is_floating_point():
            half[name] = value.contiguous().clone()
            continue
        safe = value.clamp(min=smallest) if name.endswith("running_var") else value
        half[name] = safe.detach().cpu().to(torch.float16).contiguous().clone()
        if not bool(torch.isfinite(half[name]).all()):
            raise CheckpointError(
                f"{name} does not fit float16 (largest {value.abs().max():.3g}); train again"
            )
    return half


def rounding(state: dict[str, Tensor]) -> float:
    """Return the largest error of `to_half`, relative to the largest value of the same tensor."""
    worst = 0.0
    for name, half in to_half(state).items():
        if half.is_floating_point() and half.numel():
            scale = state[name].abs().max().item() or 1.0
            worst = max(worst, (half.float() - state[name].cpu().float()).abs().max().item() / scale)
    return worst


def write_weights(module: nn.Module, path: Path) -> None:
    """Write a module's state dict in half precision, whole or not at all, and record its hash."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    save_file(to_half(module.state_dict()), partial)
    partial.replace(path)
    record_hash(path)


def record_hash(path: Path) -> None:
    """Put the SHA-256 of a weight file into the config.json beside it; needed after copying one by hand."""
    settings = _read_settings(path.parent)
    write_config(path.parent, **{SHA256: {**settings.get(SHA256, {}), path.name: sha256_of(path)}})


def write_config(folder: Path, **parts: Any) -> None:
    """Add entries to the folder's config.json: `unet`, `vae` (dataclasses), or plain values."""
    settings = _read_settings(folder)
    for name, part in parts.items():
        settings[name] = asdict(part) if isinstance(part, MoebiusConfig | VAEConfig) else part
    text = json.dumps(settings, indent=2, sort_keys=True) + "\n"
    write_atomically(folder / "config.json", text.encode())


def _read_settings(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    settings: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return settings


def read_vae(folder: Path) -> tuple[AutoencoderKL, VAEConfig]:
    """Read a folder's autoencoder, for evaluation, float32, without gradients. Raises `CheckpointError`."""
    return _read(folder, "vae", VAEConfig, build_vae)


def read_unet(folder: Path) -> tuple[Moebius, MoebiusConfig]:
    """Read a folder's U-Net, for evaluation, float32, without gradients. Raises `CheckpointError`."""
    return _read(folder, "unet", MoebiusConfig, Moebius)


def _read(
    folder: Path, part: str, options: Callable[..., Config], build: Callable[[Config], Model]
) -> tuple[Model, Config]:
    path = folder / f"{part}.safetensors"
    try:
        settings = json.loads((folder / "config.json").read_text())
        config = options(**settings[part])
        check_sha256(settings, path)
        model = build(config)
        model.load_state_dict(load_file(path))
    except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"{folder} holds no {PARTS[part]}: {error}. Train one with python -m moebius_edge.training.nano"
        ) from error
    model.float().eval().requires_grad_(False)
    return model, config


def with_scaling(std: float, config: VAEConfig) -> VAEConfig:
    """Return the configuration whose scaling factor brings latents of this standard deviation to 1."""
    return replace(config, scaling_factor=round(1 / std, 5))
