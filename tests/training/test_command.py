"""The one command, with a small model."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from moebius_edge.checkpoints.load import load_checkpoint
from moebius_edge.common.errors import InvalidInput
from moebius_edge.model.config import MoebiusConfig, VAEConfig
from moebius_edge.training import nano
from moebius_edge.training.latents import BankOptions
from moebius_edge.training.nano import NanoRun, train_nano
from moebius_edge.training.vae import VAETrainer

VAE = VAEConfig((8, 8, 8, 8), layers_per_block=1, norm_num_groups=2, sample_size=64)
UNET = MoebiusConfig((32, 32, 32), latent_size=8, embedding_dim=16, cross_attention_dim=8)


@pytest.fixture
def run(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NanoRun:
    monkeypatch.setitem(nano.VAE_SETTINGS, "cpu", {"batch": 2, "crop": 32, "large_crop": 32})
    monkeypatch.setitem(nano.UNET_SETTINGS, "cpu", {"batch": 2, "bank": BankOptions(8, replaced=4)})
    return NanoRun((photos,), None, tmp_path / "run", steps=3, device="cpu", unet=UNET, vae=VAE)


def test_both_parts_give_a_checkpoint(run: NanoRun, capsys: pytest.CaptureFixture[str]) -> None:
    train_nano(run)
    checkpoint = load_checkpoint(str(run.run))
    assert (checkpoint.config.block_out_channels, checkpoint.vae_config.downscale) == ((32, 32, 32), 8)
    assert "4 photos" in capsys.readouterr().out


def test_an_earlier_run_is_gone_on_from(run: NanoRun) -> None:
    train_nano(run)
    further = replace(run, run=run.run.with_name("further"), parts=("unet",), init=run.run, steps=1)
    train_nano(further)
    before, after = (load_checkpoint(str(folder)) for folder in (run.run, further.run))
    for name, value in after.vae.state_dict().items():
        assert torch.equal(value, before.vae.state_dict()[name])
    change = [
        float((value - before.model.state_dict()[name]).abs().max())
        for name, value in after.model.named_parameters()
    ]
    assert 0 < max(change) < 0.1


def test_minutes_are_shared_between_the_parts(run: NanoRun, monkeypatch: pytest.MonkeyPatch) -> None:
    budgets = {}
    monkeypatch.setattr(nano, "_train_autoencoder", lambda run, photos, budget: budgets.update(vae=budget))
    monkeypatch.setattr(nano, "_train_unet", lambda run, photos, holes, budget: budgets.update(unet=budget))
    train_nano(replace(run, minutes=10.0))
    assert (budgets["vae"].minutes, budgets["unet"].minutes) == pytest.approx((3.5, 6.5))
    train_nano(replace(run, minutes=10.0, parts=("unet",)))
    assert budgets["unet"].minutes == pytest.approx(10)
    # On a lent machine the end is fixed: what has passed is taken off.
    monkeypatch.setattr(NanoRun, "wall", True)
    train_nano(replace(run, minutes=10.0))
    assert budgets["unet"].wall and 9.3 < budgets["unet"].minutes < 9.8


def test_an_interrupt_ends_the_command(run: NanoRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """The U-Net must not be trained on half an autoencoder."""

    def interrupt(self: VAETrainer) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(VAETrainer, "update", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train_nano(run)
    assert sorted(path.name for path in run.run.iterdir()) == ["config.json", "vae.pt", "vae.safetensors"]


def test_minutes_that_loading_takes_are_refused(run: NanoRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NanoRun, "wall", True)
    with pytest.raises(InvalidInput, match="over before the first step"):
        train_nano(replace(run, steps=None, minutes=1e-6))


@pytest.mark.parametrize("arguments", [["--minutes", "0"], ["--steps", "0"]])
def test_no_time_is_refused(
    arguments: list[str], photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        nano.main(["--photos", str(photos), "--run", str(tmp_path), *arguments])
    assert end.value.code == 2
    assert "both must be above 0" in capsys.readouterr().err


def test_a_folder_without_photos_is_an_error_without_a_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        nano.main(["--photos", str(tmp_path), "--run", str(tmp_path / "run"), "--steps", "1"])
    assert end.value.code == 2
    assert "holds no photo" in capsys.readouterr().err
