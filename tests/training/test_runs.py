"""Whole training runs, small enough to take seconds."""

from dataclasses import replace
from pathlib import Path
from statistics import median

import pytest
import torch

from moebius_edge.checkpoints import load_checkpoint
from moebius_edge.model.config import MoebiusConfig, VAEConfig
from moebius_edge.model.unet import Moebius
from moebius_edge.model.vae import build_vae
from moebius_edge.scheduler import DDIM
from moebius_edge.training import unet, vae
from moebius_edge.training.latents import BankOptions, Examples
from moebius_edge.training.loop import Budget
from moebius_edge.training.photos import to_tensor
from moebius_edge.training.sampling import Sampling, fill
from moebius_edge.training.unet import UNetTrainer, UNetTraining
from moebius_edge.training.vae import VAETrainer, VAETraining

VAE = VAEConfig((8, 8, 8, 8), layers_per_block=1, norm_num_groups=2, sample_size=64)
UNET = MoebiusConfig((32, 32, 32), latent_size=8, embedding_dim=16, cross_attention_dim=8)
STEPS, FEW = Budget(steps=50), Budget(steps=6)


def vae_options(photos: Path, folder: Path) -> VAETraining:
    return VAETraining(photos, folder, batch=4, crop=32, large_crop=64, parts=1, workers=1, device="cpu")


def unet_options(photos: Path, folder: Path) -> UNetTraining:
    bank = BankOptions(examples=16, fresh=2)
    return UNetTraining(photos, folder, batch=2, bank=bank, parts=1, workers=1, device="cpu")


def unet_trainer(photos: Path, folder: Path, budget: Budget = STEPS) -> UNetTrainer:
    torch.manual_seed(0)
    autoencoder = (build_vae(VAE), VAE)
    trainer = UNetTrainer(unet_options(photos, folder), UNET, autoencoder, Moebius(UNET), budget)
    trainer.bank.fill()
    return trainer


def test_a_vae_run_learns(photos: Path, tmp_path: Path) -> None:
    losses: list[float] = []
    vae.run(vae_options(photos, tmp_path / "run"), VAE, STEPS, losses)
    assert len(losses) == 50
    # The first 3 steps judge colours only, so the comparison starts after them.
    assert sum(losses[40:]) < sum(losses[6:16]) - 5.0


def test_vae_runs_from_one_seed_agree(photos: Path, tmp_path: Path) -> None:
    losses: list[list[float]] = [[], []]
    for run, record in enumerate(losses):
        vae.run(vae_options(photos, tmp_path / str(run)), VAE, FEW, record)
    assert losses[0] == losses[1] and len(losses[0]) == 6


def unet_losses(photos: Path, folder: Path, budget: Budget) -> list[float]:
    losses: list[float] = []
    torch.manual_seed(0)
    unet.run(unet_options(photos, folder), UNET, (build_vae(VAE), VAE), budget, losses=losses)
    return losses


def test_a_unet_run_learns(photos: Path, tmp_path: Path) -> None:
    losses = unet_losses(photos, tmp_path / "run", STEPS)
    assert median(losses[30:]) < 0.8 * median(losses[:10])


def test_unet_runs_from_one_seed_agree(photos: Path, tmp_path: Path) -> None:
    first, second = (unet_losses(photos, tmp_path / name, FEW) for name in ("first", "second"))
    assert first == second and len(first) == 6


def test_an_interrupted_vae_run_goes_on_as_if_it_had_not_stopped(photos: Path, tmp_path: Path) -> None:
    options = vae_options(photos, tmp_path / "whole")
    whole: list[float] = []
    vae.run(options, VAE, Budget(steps=6), whole)
    stopped = replace(options, run=tmp_path / "stopped")
    first = VAETrainer(stopped, VAE, Budget(steps=6))
    for _ in range(3):
        first.step()
        first.clock.tick()
    first.save()
    rest: list[float] = []
    vae.run(stopped, VAE, Budget(steps=6), rest)
    assert rest == pytest.approx(whole[3:], rel=1e-5)


def test_a_unet_run_goes_on_and_its_folder_is_a_checkpoint(photos: Path, tmp_path: Path) -> None:
    options = unet_options(photos, tmp_path / "run")
    autoencoder = (build_vae(VAE), VAE)
    unet.run(options, UNET, autoencoder, Budget(steps=2))
    losses: list[float] = []
    trainer = unet.run(options, UNET, autoencoder, Budget(steps=5), losses=losses)
    assert len(losses) == 3
    checkpoint = load_checkpoint(str(options.run))
    assert (checkpoint.config, checkpoint.vae_config) == (UNET, VAE)
    wanted, names = trainer.averaged().state_dict(), checkpoint.model.state_dict()
    assert wanted.keys() == names.keys()
    for name, value in names.items():
        torch.testing.assert_close(value, wanted[name], rtol=2e-3, atol=1e-4)


def test_unconditional_examples_have_their_prompt_and_a_hazy_context(photos: Path, tmp_path: Path) -> None:
    trainer = unet_trainer(photos, tmp_path)
    one = trainer.bank.draw(1)
    examples = Examples(*(value.expand(400, *value.shape[1:]) for value in (one.image, one.mask, one.masked)))
    noisy = trainer.noising.draw(examples)
    free = noisy.prompts[:, 0] == 10
    assert 0.05 < free.float().mean() < 0.16
    assert torch.equal(noisy.prompts[free][0], torch.arange(10, 20))
    assert torch.equal(noisy.prompts[~free][0], torch.arange(10))
    haze = noisy.sample[:, 5:] - examples.masked
    assert haze[~free].abs().max() == 0
    assert haze[free].std() == pytest.approx(0.7, abs=0.05)
    alpha = torch.tensor(DDIM().alpha_bar)[noisy.time][:, None, None, None].float()
    latents = alpha.sqrt() * examples.image + (1 - alpha).sqrt() * noisy.noise
    torch.testing.assert_close(noisy.sample[:, :4], latents)


def test_starts_know_nothing_of_what_belongs_into_the_hole(photos: Path, tmp_path: Path) -> None:
    trainer = unet_trainer(photos, tmp_path)
    examples = trainer.bank.draw(3)
    noise = torch.randn(examples.image.shape, generator=torch.Generator().manual_seed(0))
    time = torch.full((3,), 900)
    starts, pure = torch.tensor([True, True, False]), torch.tensor([True, False, False])
    latents, target = trainer.noising.diffuse(examples, time, noise, starts, pure)
    assert torch.equal(latents[0], noise[0])
    alpha = float(trainer.noising.alpha_bar[900])
    hole = examples.mask.expand_as(noise) > 0
    mixed = torch.where(hole, examples.image.roll(1, 0), examples.image)
    wanted = alpha**0.5 * mixed + (1 - alpha) ** 0.5 * noise
    torch.testing.assert_close(latents[1], wanted[1])
    torch.testing.assert_close(target[2], noise[2])
    # Whatever the start, the target leads to the photo.
    photo = (latents - (1 - alpha) ** 0.5 * target) / alpha**0.5
    torch.testing.assert_close(photo, examples.image, rtol=1e-3, atol=1e-4)


def test_the_bank_replaces_its_oldest_examples(photos: Path, tmp_path: Path) -> None:
    bank = unet_trainer(photos, tmp_path).bank
    before = bank.masked.clone()
    bank.refresh(2)
    changed = (bank.masked != before).flatten(1).any(1)
    assert changed.tolist() == [True, True] + [False] * 14


def test_a_perfect_prediction_costs_nothing(photos: Path, tmp_path: Path) -> None:
    trainer = unet_trainer(photos, tmp_path)
    noisy = trainer.noising.draw(trainer.bank.draw(4))
    trainer.model.forward = lambda *_: noisy.noise  # type: ignore[method-assign]
    assert trainer.loss(noisy) == 0.0


def test_fills_change_only_the_hole_and_depend_on_the_seed(photos: Path, tmp_path: Path) -> None:
    trainer = unet_trainer(photos, tmp_path)
    model, autoencoder = trainer.model.eval(), trainer.vae.eval()
    picture = to_tensor(trainer.bank.crops.pyramids[0][0][None, :64, :64])
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 16:40, 16:40] = 1
    first, again, other = (
        fill(model, autoencoder, picture, mask, Sampling(steps=2, seed=seed)) for seed in (0, 0, 1)
    )
    outside = (mask == 0).expand_as(picture)
    assert torch.equal(first[outside], picture[outside])
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
