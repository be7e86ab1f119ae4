"""Trains the U-Net on latents: `python -m moebius_edge.training.unet --photos DIR --vae FILE --run DIR`."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from moebius_edge.checkpoints import load_checkpoint
from moebius_edge.explain import explained
from moebius_edge.model.config import CONFIGS, MoebiusConfig, VAEConfig
from moebius_edge.model.unet import Moebius
from moebius_edge.training.arguments import chosen, training_parser
from moebius_edge.training.calm import start_calm
from moebius_edge.training.latents import BankOptions, LatentBank
from moebius_edge.training.loop import (
    Budget,
    Clock,
    generator_state,
    load_state,
    require_same,
    restore_generator,
    save_state,
    train,
)
from moebius_edge.training.noising import Noising, NoisingOptions, Noisy
from moebius_edge.training.optim import Average, Optimizers, cosine, mixes_channels
from moebius_edge.training.parallel import Workers
from moebius_edge.training.photos import Crop, PhotoCrops
from moebius_edge.training.sampling import Sampling
from moebius_edge.training.sheets import save_fills
from moebius_edge.training.weights import NANO, read_vae, write_config, write_weights

QUICK = Sampling(steps=10)  # of the sample sheets


@dataclass(frozen=True)
class UNetTraining:
    """How the U-Net is trained."""

    photos: Path  # folder of training photos
    run: Path  # where checkpoint and sheets go; an existing checkpoint is continued
    sheet_photos: Path | None = None  # photos for the sample sheet, never trained on
    seed: int = 0
    batch: int = 8  # examples per step
    lr: float = 3e-3
    ema: float = 0.995
    outside: float = 0.25  # weight of a latent outside the hole, against 1 inside
    max_weight: float = 80.0  # bound on a timestep's weight 1 / alpha_bar
    noising: NoisingOptions = field(default_factory=NoisingOptions)
    bank: BankOptions = field(default_factory=BankOptions)
    swap_colours: float = 0.15  # how often a crop's colour planes are permuted
    device: str = "cuda" if torch.cuda.is_available() else "cpu"
    bf16: bool = True
    parts: int = 2  # a step's examples are worked on in as many parts,
    workers: int = 2  # by as many threads (1 on a GPU)


def is_matrix(name: str, weight: Tensor) -> bool:
    """Whether a weight mixes channels; the learned tables do not."""
    return mixes_channels(name, weight) and not name.endswith(("rel_pos_emb", "embedding_layer.weight"))


class UNetTrainer:
    """Model, optimiser, average, latent bank and clock of one run."""

    def __init__(
        self,
        options: UNetTraining,
        config: MoebiusConfig,
        autoencoder: tuple[AutoencoderKL, VAEConfig],
        model: Moebius,
        budget: Budget,
    ) -> None:
        vae, vae_config = autoencoder
        torch.manual_seed(options.seed)
        self.options, self.config, self.vae = options, config, vae
        self.vae_config = vae_config
        self.model = model.train().to(options.device)
        self.noising = Noising(options.noising, options.seed + 1, options.device)
        self.workers = Workers(options.workers)
        size = config.latent_size * vae_config.downscale
        crop = Crop(size, max_scale=448, swap_colours=options.swap_colours)
        crops = PhotoCrops(options.photos, crop, options.seed)
        self.bank = LatentBank(vae, vae_config, crops, options.bank, options.device)
        self.optimizers = Optimizers(self.model, options.lr, is_matrix)
        self.average = Average(self.model, options.ema)
        self.clock = Clock(budget)

    def step(self) -> float:
        parts = self.noising.draw(self.bank.draw(self.options.batch)).split(self.options.parts)
        loss = self.workers.gradients(self.model, parts, self.loss, beside=self._refresh)
        nn.utils.clip_grad_norm_(self.model.parameters(), 2.0)
        self.optimizers.step(cosine(self.clock.progress))
        self.average.update(self.model)
        return loss

    def _refresh(self) -> None:
        self.bank.refresh(self.options.bank.fresh)

    def loss(self, noisy: Noisy) -> Tensor:
        """Weighted squared error of the predicted noise.

        A timestep weighs 1 / alpha_bar (the error of v-prediction, Salimans & Ho 2022): at high noise, where
        the colours of the hole are decided, small errors of the noise are large errors of the picture.
        """
        options = self.options
        # No cache of cast weights: it is shared between threads.
        with torch.autocast(options.device, torch.bfloat16, options.bf16, cache_enabled=False):
            predicted = self.model(noisy.sample, noisy.time, noisy.prompts).float()
        alpha = self.noising.alpha_bar[noisy.time][:, None, None, None]
        weight = (1 / alpha).clamp(max=options.max_weight)
        area = options.outside + (1 - options.outside) * noisy.sample[:, 4:5]
        error = (predicted - noisy.noise).square() * weight * area
        loss: Tensor = (error.sum((1, 2, 3)) / (4 * area.sum((1, 2, 3)))).mean()
        return loss

    def state(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "average": self.average.values,
            "average_updates": self.average.updates,
            "optimizers": self.optimizers.state_dict(),
            "crops": generator_state(self.bank.crops.rng),
            "noise": self.noising.generator.get_state(),
            "steps": self.clock.steps,
            "seconds": self.clock.seconds,
            "config": asdict(self.config),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on from a checkpoint; the bank is encoded anew."""
        require_same(state["config"], asdict(self.config), self.options.run)
        self.model.load_state_dict(state["model"])
        self.average.values, self.average.updates = state["average"], state["average_updates"]
        self.optimizers.load_state_dict(state["optimizers"])
        restore_generator(self.bank.crops.rng, state["crops"])
        self.noising.generator.set_state(state["noise"].cpu())
        self.clock.steps, self.clock.seconds = state["steps"], state["seconds"]

    @torch.no_grad()
    def averaged(self, batches: int = 32) -> Moebius:
        """The averaged weights on the CPU, in evaluation mode, their BatchNorm statistics measured anew."""
        options, state = self.options, self.noising.generator.get_state()
        model = Moebius(self.config).to(options.device).train()
        model.load_state_dict(self.average.values)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.reset_running_stats()
                module.momentum = None  # the plain mean over the batches
        # In batches as small as in training, for which the weights were found.
        size = max(options.batch // options.parts, 1)
        for pick in torch.split(torch.arange(self.bank.options.examples), size)[:batches]:
            noisy = self.noising.draw(self.bank.examples(pick))
            with torch.autocast(options.device, torch.bfloat16, enabled=options.bf16):
                model(noisy.sample, noisy.time, noisy.prompts)
        self.noising.generator.set_state(state)  # saving does not change the run
        return model.cpu().eval()

    def save(self) -> None:
        options = self.options
        save_state(options.run / "unet.pt", self.state())
        model = self.averaged()
        write_weights(model, options.run / "unet.safetensors")
        write_weights(self.vae, options.run / "vae.safetensors")
        write_config(options.run, unet=self.config, vae=self.vae_config)
        if options.sheet_photos is not None:
            save_fills(model, self.vae.cpu().eval(), options.sheet_photos, options.run / "unet.png", QUICK)
            self.vae.to(options.device)


def run(
    options: UNetTraining,
    config: MoebiusConfig,
    autoencoder: tuple[AutoencoderKL, VAEConfig],
    budget: Budget,
    start: Moebius | None = None,
    losses: list[float] | None = None,
) -> UNetTrainer:
    """Trains, or goes on training, and returns the trainer. `losses` receives every step's loss."""
    torch.manual_seed(options.seed)
    if start is None:
        start_calm(model := Moebius(config))
    else:
        model = start.requires_grad_(True)
    trainer = UNetTrainer(options, config, autoencoder, model, budget)
    checkpoint = options.run / "unet.pt"
    if checkpoint.exists():
        trainer.restore(load_state(checkpoint))
    trainer.bank.fill()
    train(trainer.clock, trainer.step, trainer.save, losses)
    return trainer


def main(arguments: list[str] | None = None) -> None:
    parser = training_parser(__doc__, UNetTraining, Budget(60.0, save_minutes=6.0))
    parser.add_argument("--vae", type=Path, default=NANO, help="folder with vae.safetensors and config.json")
    given = parser.parse_args(arguments)
    options, budget = chosen(given, UNetTraining)
    with explained():
        start = load_checkpoint(given.init).model if given.init else None
        run(options, CONFIGS["nano"], read_vae(given.vae), budget, start)


if __name__ == "__main__":
    main()
