"""The shipped weights, on the two sample photos (not trained on)."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from moebius_edge.checkpoints.checkpoint import Checkpoint
from moebius_edge.checkpoints.load import load_checkpoint
from moebius_edge.common.files import sha256_of
from moebius_edge.model.config import CONFIGS, VAE_CONFIGS
from moebius_edge.training.cases import Cases, make_cases
from moebius_edge.training.evaluate import fill_cases, mean_picture
from moebius_edge.training.judge import score
from moebius_edge.training.metrics import masks_tensor, vae_table
from moebius_edge.training.photos import to_tensor
from moebius_edge.training.plain import mean_fill
from moebius_edge.training.sampling import FAST, guidance_effect
from moebius_edge.training.weights import NANO

SAMPLES = NANO.parent / "samples"


@pytest.fixture(scope="module")
def nano() -> Checkpoint:
    return load_checkpoint("nano")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for path in SAMPLES.glob("*.jpg"):
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def test_files_are_finite_half_precision_and_small() -> None:
    for name in ("unet.safetensors", "vae.safetensors"):
        for key, value in load_file(NANO / name).items():
            assert value.dtype == (torch.int64 if key.endswith("num_batches_tracked") else torch.float16)
            assert torch.isfinite(value).all()
            assert not key.endswith("running_var") or (value > 0).all()
    assert sum(path.stat().st_size for path in NANO.iterdir()) < 30 << 20


def test_every_shipped_file_is_the_one_that_its_config_names() -> None:
    recorded = json.loads((NANO / "config.json").read_text()).get("sha256", {})
    found = {path.name: sha256_of(path) for path in NANO.glob("*.safetensors")}
    assert recorded == found, "files copied here by hand: call moebius_edge.training.weights.record_hash"


def test_configuration_is_the_packages() -> None:
    settings = json.loads((NANO / "config.json").read_text())
    assert settings["unet"] == json.loads(json.dumps(asdict(CONFIGS["nano"])))
    assert settings["vae"] == json.loads(json.dumps(asdict(VAE_CONFIGS["nano"])))
    assert settings["license"] == "Apache-2.0"


@pytest.mark.full
def test_autoencoder_keeps_detail_and_both_colour_axes(nano: Checkpoint, photos: Path) -> None:
    mean = vae_table(nano.vae, photos)["mean"]
    assert mean["rgb"] > 25.5
    assert mean["cb"] > 33
    assert mean["cr"] > 33


@pytest.mark.full
def test_latents_have_unit_variance(nano: Checkpoint, photos: Path) -> None:
    pictures = make_cases([photos], count=2).photos
    pixels = torch.from_numpy(pictures).movedim(-1, 1) / 127.5 - 1
    with torch.no_grad():
        latents = nano.vae.encode(pixels).latent_dist.mean * nano.vae_config.scaling_factor
    assert 0.6 < latents.std() < 1.4


def mean_score(cases: Cases, filled: list[NDArray[np.uint8]], key: str) -> float:
    scored = zip(cases.photos, filled, cases.masks, strict=True)
    return float(np.mean([score(*case)[key] for case in scored]))


@pytest.mark.full
def test_fills_beat_the_mean_colour_and_are_no_flat_blur(nano: Checkpoint, photos: Path) -> None:
    cases = make_cases([photos], count=6)
    filled, others = fill_cases(nano, cases, FAST, seeds=2)
    mean = [mean_picture(list(pair)) for pair in zip(filled, others, strict=True)]
    plain = [mean_fill(*case) for case in zip(cases.photos, cases.masks, strict=True)]
    # Of one sample that is not so: see MODEL_CARD.md.
    assert mean_score(cases, mean, "psnr") > mean_score(cases, plain, "psnr")
    assert mean_score(cases, filled, "contrast") > 0.4


@pytest.mark.full
def test_guidance_matters(nano: Checkpoint, photos: Path) -> None:
    cases = make_cases([photos], count=2)
    effect = guidance_effect(nano.model, nano.vae, to_tensor(cases.photos), masks_tensor(cases.masks))
    assert effect[900] > 0.005
    assert effect[100] > 0.005
