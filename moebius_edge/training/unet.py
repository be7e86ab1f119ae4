"""Train the U-Net on latents, the second part of `python -m moebius_edge.training.nano`."""

import copy
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from moebius_edge.model.blocks import ResidualBlock, TransformerUnit
from moebius_edge.model.config import MoebiusConfig, VAEConfig
from moebius_edge.model.unet import Moebius
from moebius_edge.training.identity_init import start_as_identity
from moebius_edge.training.latents import BankOptions, LatentBank, Material
from moebius_edge.training.loop import Budget
from moebius_edge.training.noising import Noising, NoisingOptions, Noisy
from moebius_edge.training.optim import mixes_channels
from moebius_edge.training.sampling import Sampling
from moebius_edge.training.sheets import save_fills
from moebius_edge.training.trainer import GO_ON, Trainer, TrainingOptions, compile_in_place
from moebius_edge.training.weights import write_config, write_weights

# Defaults of its bundles, as nano's. What the examples teach is the conditional branch; a model that has seen
# little does better with the colours around the hole under its first noise (docs/photos.md, "Measured").
DEFAULTS = {"guidance": 1.0, "strength": 0.7}
QUICK = Sampling(steps=10, strength=DEFAULTS["strength"])  # of the sample sheets, at guidance 1 and 2


@dataclass(frozen=True)
class UNetTraining(TrainingOptions):
    """How the U-Net is trained."""

    lr: float = 3e-3
    outside: float = 0.25  # weight of a latent outside the hole, against 1 inside
    max_weight: float = 80.0  # bound on a timestep's weight 1 / alpha_bar
    noising: NoisingOptions = field(default_factory=NoisingOptions)
    bank: BankOptions = field(default_factory=BankOptions)


class UNetTrainer(Trainer):
    """The run that trains the U-Net."""

    file = "unet.pt"
    options: UNetTraining

    def __init__(
        self,
        options: UNetTraining,
        config: MoebiusConfig,
        autoencoder: tuple[AutoencoderKL, VAEConfig],
        budget: Budget,
        material: Material,
        start: Moebius | None = None,
    ) -> None:
        """Begin from `start`, trained weights, or afresh."""
        torch.manual_seed(options.seed)
        if start is None:
            start_as_identity(model := Moebius(config))
        else:
            model, options = start.requires_grad_(True), replace(options, lr=GO_ON * options.lr)
        self.config, (self.vae, self.vae_config) = config, autoencoder
        self.noising = Noising(options.noising, options.seed + 1, options.device)
        encoder = copy.deepcopy(self.vae)  # its own: compiled for one shape, the sheets need others
        self.bank = LatentBank(encoder, self.vae_config, material, options.bank)
        generators: dict[str, Any] = {"noise": self.noising.generator, "photos": material.photos.generator}
        generators["holes"] = material.holes.generator
        super().__init__(model, options, asdict(config), budget, generators)
        if options.compile:
            # Block by block: five of a kind are compiled once, in a third of the time of the whole.
            blocks = (ResidualBlock, TransformerUnit)
            compile_in_place(module for module in self.model.modules() if isinstance(module, blocks))
            compile_in_place([self.bank.vae.encoder])

    @staticmethod
    def is_matrix(name: str, weight: Tensor) -> bool:
        """Tell whether a weight mixes channels; the learned tables do not."""
        return mixes_channels(name, weight) and not name.endswith(("rel_pos_emb", "embedding_layer.weight"))

    def parts(self) -> list[Noisy]:
        """Draw noisy examples for one step, in parts."""
        return self.noising.draw(self.bank.draw(self.options.batch)).split(self.options.parts)

    def alongside(self) -> None:
        """Replace the oldest examples of the bank."""
        self.bank.refresh()

    def loss(self, noisy: Noisy) -> Tensor:
        """Return the weighted squared error of the predicted noise.

        A timestep weighs 1 / alpha_bar (the error of v-prediction, Salimans & Ho 2022): at high noise, where
        the colours of the hole are decided, small errors of the noise are large errors of the picture.
        """
        options = self.options
        with self.autocast():
            predicted = self.model(noisy.sample, noisy.time, noisy.prompts).float()
        alpha = self.noising.alpha_bar[noisy.time][:, None, None, None]
        weight = (1 / alpha).clamp(max=options.max_weight)
        area = options.outside + (1 - options.outside) * noisy.sample[:, 4:5]
        error = (predicted - noisy.noise).square() * weight * area
        loss: Tensor = (error.sum((1, 2, 3)) / (4 * area.sum((1, 2, 3)))).mean()
        return loss

    @torch.no_grad()
    def averaged(self, batches: int = 32) -> Moebius:
        """Return the averaged weights on the run's device, in evaluation mode, BatchNorm measured anew.

        `batches`: over how many batches of the bank.
        """
        options = self.options
        state = {generator: generator.get_state() for generator in self.generators.values()}
        model = Moebius(self.config).to(options.device).train()
        model.load_state_dict(self.average.values)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.reset_running_stats()
                module.momentum = None  # the plain mean over the batches
        # In batches as small as in training, for which the weights were found.
        size = max(options.batch // options.parts, 1)
        for pick in torch.split(torch.arange(self.bank.options.examples), size)[:batches]:
            noisy = self.noising.draw(self.bank.examples(pick.to(options.device)))
            with self.autocast():
                model(noisy.sample, noisy.time, noisy.prompts)
        for generator, before in state.items():
            generator.set_state(before)  # saving does not change the run
        return model.eval()

    def write(self, last: bool) -> None:
        """Write the averaged weights, the autoencoder, their config.json and, with `last`, a sheet."""
        folder, model = self.options.run, self.averaged(32 if last else 4)
        write_weights(model, folder / "unet.safetensors")
        write_weights(self.vae, folder / "vae.safetensors")
        write_config(folder, unet=self.config, vae=self.vae_config, **DEFAULTS)
        if last and self.options.sheet_photos is not None:
            save_fills(model.cpu(), self.vae.cpu(), self.options.sheet_photos, folder / "unet.jpg", QUICK)

    def train(self, losses: list[float] | None = None) -> None:
        """Train, or go on training; the bank is encoded anew."""
        self.bank.fill()
        super().train(losses)
