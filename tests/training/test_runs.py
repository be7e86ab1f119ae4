"""Whole training runs, small enough to take seconds."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from moebius_edge.checkpoints.load import load_checkpoint
from moebius_edge.common.errors import CheckpointError
from moebius_edge.inpaint.solvers.ddim import DDIM
from moebius_edge.model.config import MoebiusConfig, VAEConfig
from moebius_edge.model.vae import build_vae
from moebius_edge.training.holes import Holes
from moebius_edge.training.latents import BankOptions, Examples, Material
from moebius_edge.training.loop import Budget
from moebius_edge.training.photos import CropOptions, PhotoCrops
from moebius_edge.training.sampling import Sampling, fill
from moebius_edge.training.unet import UNetTrainer, UNetTraining
from moebius_edge.training.vae import VAETrainer, VAETraining

# Latents of untrained weights have a standard deviation of 0.19.
VAE = VAEConfig((8, 8, 8, 8), layers_per_block=1, norm_num_groups=2, sample_size=64, scaling_factor=5.0)
UNET = MoebiusConfig((32, 32, 32), latent_size=8, embedding_dim=16, cross_attention_dim=8)
STEPS, FEW = Budget(steps=50), Budget(steps=6)


def vae_trainer(photos: Path, folder: Path, budget: Budget) -> VAETrainer:
    options = VAETraining(folder, batch=4, crop=32, large_crop=64, device="cpu")
    return VAETrainer(options, VAE, budget, PhotoCrops([photos], 0))


def vae_losses(photos: Path, folder: Path, budget: Budget) -> list[float]:
    losses: list[float] = []
    vae_trainer(photos, folder, budget).train(losses)
    return losses


def unet_trainer(photos: Path, folder: Path, budget: Budget = STEPS, **settings: float) -> UNetTrainer:
    options = UNetTraining(folder, batch=2, bank=BankOptions(examples=16, replaced=2), device="cpu")
    options = replace(options, **settings)
    material = Material(PhotoCrops([photos], 0), Holes(None, 0, drawn=8), CropOptions(64))
    torch.manual_seed(0)
    trainer = UNetTrainer(options, UNET, (build_vae(VAE), VAE), budget, material)
    trainer.bank.fill()
    return trainer


def test_a_vae_run_learns(photos: Path, tmp_path: Path) -> None:
    losses = vae_losses(photos, tmp_path / "run", STEPS)
    assert len(losses) == 50
    # The first 3 steps judge colours only, so the comparison starts after them.
    assert sum(losses[40:]) < sum(losses[6:16]) - 5.0


def test_vae_runs_from_one_seed_agree(photos: Path, tmp_path: Path) -> None:
    first, again = (vae_losses(photos, tmp_path / name, FEW) for name in ("first", "again"))
    assert first == again and len(first) == 6


def unet_losses(photos: Path, folder: Path, budget: Budget) -> list[float]:
    losses: list[float] = []
    unet_trainer(photos, folder, budget).train(losses)
    return losses


@pytest.mark.full
def test_a_unet_run_learns(photos: Path, tmp_path: Path) -> None:
    trainer = unet_trainer(photos, tmp_path / "run", Budget(steps=40), batch=8, lr=1e-2)
    noisy = trainer.noising.draw(trainer.bank.examples(torch.arange(16).repeat(4)))
    before = trainer.loss(noisy)
    trainer.train()
    assert trainer.loss(noisy) < 0.9 * before


@pytest.mark.full
def test_unet_runs_from_one_seed_agree(photos: Path, tmp_path: Path) -> None:
    first, second = (unet_losses(photos, tmp_path / name, FEW) for name in ("first", "second"))
    assert first == second and len(first) == 6


def test_an_interrupted_vae_run_goes_on_as_if_it_had_not_stopped(photos: Path, tmp_path: Path) -> None:
    whole = vae_losses(photos, tmp_path / "whole", FEW)
    first = vae_trainer(photos, tmp_path / "stopped", FEW)
    for _ in range(3):
        first.step()
        first.clock.tick()
    first.save()
    rest = vae_losses(photos, tmp_path / "stopped", FEW)
    assert rest == pytest.approx(whole[3:], rel=1e-5)


def test_a_run_from_trained_weights_skips_the_phases_that_find_them(photos: Path, tmp_path: Path) -> None:
    trained = vae_trainer(photos, tmp_path / "first", FEW).averaged()
    options = VAETraining(tmp_path, batch=4, crop=32, device="cpu")
    trainer = VAETrainer(options, VAE, FEW, PhotoCrops([photos], 0), trained)
    assert trainer.options.colours_until == 0 and trainer.options.posterior_from == 0
    assert trainer.optimizers.lr == pytest.approx(0.3 * options.lr)
    for name, value in trainer.model.state_dict().items():
        assert torch.equal(value, trained.state_dict()[name])


def test_a_unet_run_goes_on_and_its_folder_is_a_checkpoint(photos: Path, tmp_path: Path) -> None:
    unet_losses(photos, tmp_path / "run", Budget(steps=2))
    losses: list[float] = []
    trainer = unet_trainer(photos, tmp_path / "run", Budget(steps=5))
    trainer.train(losses)
    assert len(losses) == 3
    checkpoint = load_checkpoint(str(tmp_path / "run"))
    assert (checkpoint.config, checkpoint.vae_config) == (UNET, VAE)
    assert (checkpoint.guidance, checkpoint.strength) == (1.0, 0.7)
    wanted, names = trainer.averaged().state_dict(), checkpoint.model.state_dict()
    assert wanted.keys() == names.keys()
    for name, value in names.items():
        torch.testing.assert_close(value, wanted[name], rtol=2e-3, atol=1e-4)


def test_a_run_that_diverges_says_so(photos: Path, tmp_path: Path) -> None:
    trainer = unet_trainer(photos, tmp_path / "run", Budget(steps=60))
    trainer.step = lambda: torch.tensor(float("nan"))  # type: ignore[method-assign]
    with pytest.raises(CheckpointError, match="diverged; start again with a lower --lr"):
        trainer.train()


def test_unconditional_examples_have_their_prompt_and_a_hazy_context(photos: Path, tmp_path: Path) -> None:
    trainer = unet_trainer(photos, tmp_path)
    one = trainer.bank.draw(1)
    examples = Examples(*(getattr(one, f.name).expand(400, -1, -1, -1) for f in fields(one)))
    noisy = trainer.noising.draw(examples)
    free = noisy.prompts[:, 0] == 10
    assert 0.01 < free.float().mean() < 0.1
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
    wanted = alpha**0.5 * examples.begun + (1 - alpha) ** 0.5 * noise
    torch.testing.assert_close(latents[1], wanted[1])
    torch.testing.assert_close(target[2], noise[2])
    # Whatever the start, the target leads to the photo.
    photo = (latents - (1 - alpha) ** 0.5 * target) / alpha**0.5
    torch.testing.assert_close(photo, examples.image, rtol=1e-3, atol=1e-4)


def test_the_bank_replaces_its_oldest_examples(photos: Path, tmp_path: Path) -> None:
    bank = unet_trainer(photos, tmp_path).bank
    before = bank.masked.clone()
    bank.refresh()
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
    picture = trainer.bank.material.photos.batch(1, CropOptions(64)).contiguous()
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 16:40, 16:40] = 1
    first, again, other = (
        fill(model, autoencoder, picture, mask, Sampling(steps=2, seed=seed)) for seed in (0, 0, 1)
    )
    outside = (mask == 0).expand_as(picture)
    assert torch.equal(first[outside], picture[outside])
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


class NoClock:
    """What a captured step must not look at: it would see it once, and never again."""

    def __getattr__(self, name: str) -> float:
        raise AssertionError(f"the work of a step reads the clock's {name}")


class NoReading(TorchDispatchMode):
    """Values must not be read on the host: in a captured step that fails, in any other the host waits."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert "_local_scalar_dense" not in str(function) and "nonzero" not in str(function), str(function)
        return function(*args, **(kwargs or {}))


def test_the_work_of_a_step_reads_nothing_on_the_host(photos: Path, tmp_path: Path) -> None:
    for trainer in (vae_trainer(photos, tmp_path, FEW), unet_trainer(photos, tmp_path)):
        trainer.schedule()
        trainer.clock = NoClock()  # type: ignore[assignment]
        with NoReading():
            # The optimiser reads its own count of steps on a CPU; on a GPU it is told not to.
            trainer.workers.gradients(
                trainer.model, trainer.parts(), trainer.loss, alongside=trainer.alongside
            )
            trainer.average.update(trainer.model)
        trainer.update()


def test_a_finished_run_of_minutes_stays_finished(photos: Path, tmp_path: Path) -> None:
    first = unet_trainer(photos, tmp_path, Budget(minutes=0.001))
    first.train()
    again = unet_trainer(photos, tmp_path, Budget(minutes=60.0))
    again.train()
    assert again.clock.steps == first.clock.steps > 0


def test_a_run_does_not_go_on_on_another_kind_of_device(photos: Path, tmp_path: Path) -> None:
    trainer = unet_trainer(photos, tmp_path)
    with pytest.raises(CheckpointError, match="has device cuda, this command cpu"):
        trainer.restore({**trainer.state(), "config": {**trainer.architecture, "device": "cuda"}})


@pytest.mark.full
def test_a_step_that_cannot_be_captured_is_done_one_by_one(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_stream() -> None:
        raise RuntimeError("no such device\nand more lines")

    monkeypatch.setattr(torch.cuda, "current_stream", no_stream)
    plain = unet_losses(photos, tmp_path / "plain", FEW)
    trainer = unet_trainer(photos, tmp_path / "captured", FEW, capture=True)
    losses: list[float] = []
    trainer.train(losses)
    assert losses == plain
    said = [line for line in capsys.readouterr().out.splitlines() if "captured" in line]
    assert said == ["steps are not captured as a CUDA graph, which is slower: no such device"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device here")
def test_captured_steps_learn_what_others_do(photos: Path, tmp_path: Path) -> None:
    results = []
    for capture in (False, True):
        options = VAETraining(tmp_path, batch=4, crop=32, large_crop=32, device="cuda", capture=capture)
        trainer = VAETrainer(options, VAE, Budget(steps=50), PhotoCrops([photos], 0, "cuda"))
        losses: list[float] = []
        trainer.train(losses)
        assert (trainer.graph is not None) == capture
        results.append(sum(losses[40:]) / 10)
    assert results[1] == pytest.approx(results[0], abs=0.3)
