import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from moebius_edge.common.errors import CheckpointError
from moebius_edge.model.config import VAEConfig
from moebius_edge.model.vae import build_vae
from moebius_edge.training.weights import (
    read_vae,
    rounding,
    to_half,
    with_scaling,
    write_config,
    write_weights,
)

TINY = VAEConfig((8, 8, 8, 8), layers_per_block=1, norm_num_groups=4, sample_size=64, scaling_factor=0.5)


def test_tiny_variances_do_not_become_zero() -> None:
    norm = nn.BatchNorm2d(3)
    norm.running_var.fill_(1e-9)
    half = to_half(norm.state_dict())
    assert half["running_var"].dtype == torch.float16
    assert (half["running_var"] > 0).all()
    assert half["num_batches_tracked"].dtype == torch.int64


@pytest.mark.parametrize("value", [1e6, float("nan"), float("inf")])
def test_what_half_precision_cannot_hold_is_refused(value: float) -> None:
    with pytest.raises(CheckpointError, match="weight does not fit float16"):
        to_half({"weight": torch.tensor([1.0, value])})


def test_rounding_is_that_of_half_precision() -> None:
    state = {"a": torch.rand(1000, generator=torch.Generator().manual_seed(0))}
    assert 2**-13 < rounding(state) <= 2**-11


def test_an_autoencoder_comes_back(tmp_path: Path) -> None:
    vae = build_vae(TINY)
    write_weights(vae, tmp_path / "vae.safetensors")
    write_config(tmp_path, vae=TINY)
    again, config = read_vae(tmp_path)
    assert config == TINY
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "vae.safetensors"]
    assert load_file(tmp_path / "vae.safetensors")["encoder.conv_in.weight"].dtype == torch.float16
    for name, value in again.state_dict().items():
        torch.testing.assert_close(value, vae.state_dict()[name], rtol=1e-3, atol=1e-6)


def test_writing_weights_records_their_hash_and_keeps_the_rest(tmp_path: Path) -> None:
    write_config(tmp_path, vae=TINY, license="CC0-1.0")
    for name in ("vae", "unet"):
        write_weights(nn.Linear(2, 3), tmp_path / f"{name}.safetensors")
    settings = json.loads((tmp_path / "config.json").read_text())
    files = ("vae.safetensors", "unet.safetensors")
    digests = {name: hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in files}
    assert settings["sha256"] == digests and settings["license"] == "CC0-1.0" and "vae" in settings
    write_weights(nn.Linear(3, 3), tmp_path / "vae.safetensors")
    renewed = json.loads((tmp_path / "config.json").read_text())["sha256"]
    assert renewed["vae.safetensors"] != digests["vae.safetensors"]
    assert renewed["unet.safetensors"] == digests["unet.safetensors"]


def test_an_autoencoder_with_a_flipped_bit_is_refused(tmp_path: Path) -> None:
    write_weights(build_vae(TINY), tmp_path / "vae.safetensors")
    write_config(tmp_path, vae=TINY)
    data = bytearray((tmp_path / "vae.safetensors").read_bytes())
    data[-2] ^= 1
    (tmp_path / "vae.safetensors").write_bytes(data)
    with pytest.raises(CheckpointError, match=r"vae\.safetensors is damaged or was replaced"):
        read_vae(tmp_path)


def test_a_folder_without_autoencoder_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"python -m moebius_edge\.training\.nano"):
        read_vae(tmp_path)


def test_scaling_is_the_inverse_of_the_latents_deviation() -> None:
    assert with_scaling(4.0, TINY).scaling_factor == 0.25
