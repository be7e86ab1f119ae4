"""Trains the autoencoder: `python -m moebius_edge.training.vae --photos DIR --run DIR`."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor, nn

from moebius_edge.explain import explained
from moebius_edge.model.config import VAE_CONFIGS, VAEConfig
from moebius_edge.model.graphs import LOG_VARIANCE_RANGE
from moebius_edge.model.vae import build_vae
from moebius_edge.training.arguments import chosen, training_parser
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
from moebius_edge.training.metrics import vae_table
from moebius_edge.training.optim import Average, Optimizers, cosine
from moebius_edge.training.parallel import Workers
from moebius_edge.training.photos import Crop, PhotoCrops
from moebius_edge.training.sheets import save_reconstructions
from moebius_edge.training.weights import NANO, read_vae, with_scaling, write_config, write_weights

# JFIF (ITU-T T.871) YCbCr rows: luma, blue difference, red difference.
YCBCR = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))


@dataclass(frozen=True)
class VAETraining:
    """How the autoencoder is trained."""

    photos: Path  # folder of training photos
    run: Path  # where checkpoint and sheets go; an existing checkpoint is continued
    sheet_photos: Path | None = None  # photos for the sample sheet, never trained on
    seed: int = 0
    batch: int = 32  # crops per step
    crop: int = 64  # pixels
    # Progress until which only the colours of 8x8 blocks count. They are three numbers and the latents four,
    # so none is lost; begun with detail, the net spends its latents on luma and on one colour axis.
    colours_until: float = 0.06
    large_crop: int = 128  # pixels, in the last part, as many as keep the pixel count: fewer borders
    large_from: float = 0.7  # progress from which crops are large
    lr: float = 2.5e-3
    ema: float = 0.995
    chroma: tuple[float, float] = (8.0, 2.0)  # weight of Cb and Cr against luma's 1: first, last
    swap_colours: tuple[float, float] = (0.6, 0.1)  # how often colour planes are permuted: first, last
    posterior_from: float = 0.7  # progress from which latents are sampled and the KL term counts
    kl: float = 0.03  # its weight; half of it is the relative error that sampling may cost
    latent_noise: float = 0.05  # noise on the deterministic latents before that, in standard deviations
    device: str = "cuda" if torch.cuda.is_available() else "cpu"
    bf16: bool = True
    parts: int = 4  # a step's crops are worked on in as many parts,
    workers: int = 2  # by as many threads (1 on a GPU)


def reconstruction_loss(output: Tensor, target: Tensor, chroma: float, detail: float) -> Tensor:
    """Mean over the batch of the logarithm of the mean squared error: its gradient is that of the mean PSNR.

    `output`, `target`: [B, 3, H, W] in [-1, 1]. Error is taken in YCbCr with the chroma planes weighed up by
    `chroma`, averaged over 8x8 blocks and, weighed by `detail` in [0, 1], at full size.
    """
    weights = torch.tensor((1.0, chroma, chroma), device=output.device).sqrt()
    matrix = torch.tensor(YCBCR, device=output.device) * weights[:, None]
    error = torch.einsum("ck,bkhw->bchw", matrix, output - target)
    fine = error.square().sum(1).mean((1, 2))
    coarse = F.avg_pool2d(error, 8).square().sum(1).mean((1, 2))
    return (detail * (fine + 2e-3).log() + (1 - 0.7 * detail) * (coarse + 5e-4).log()).mean()


def _between(ends: tuple[float, float], progress: float) -> float:
    """From the first value to the last over the first 60 % of the run."""
    return ends[0] + (ends[1] - ends[0]) * min(progress / 0.6, 1.0)


def start_calm(vae: AutoencoderKL) -> None:
    """Residual branches begin at zero: the net begins as a chain of resamplings, with a narrow posterior."""
    for name, module in vae.named_modules():
        if name.endswith(("conv2", "to_out.0")):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)
    with torch.no_grad():
        channels = vae.quant_conv.weight.shape[0] // 2
        vae.quant_conv.weight[channels:] *= 0.05
        vae.quant_conv.bias[channels:] = -5.0


class VAETrainer:
    """Model, optimiser, average, data and clock of one run."""

    def __init__(self, options: VAETraining, config: VAEConfig, budget: Budget) -> None:
        torch.manual_seed(options.seed)
        self.options, self.config = options, config
        self.vae = build_vae(config).train()
        start_calm(self.vae)
        self.vae.to(options.device)
        self.noise = torch.Generator().manual_seed(options.seed + 1)
        self.workers = Workers(options.workers)
        self.crops = PhotoCrops(options.photos, Crop(options.crop), options.seed)
        self.optimizers = Optimizers(self.vae, options.lr)
        self.average = Average(self.vae, options.ema)
        self.clock = Clock(budget)

    def step(self) -> float:
        options, progress = self.options, self.clock.progress
        chroma = _between(options.chroma, progress)
        size = options.large_crop if progress >= options.large_from else options.crop
        swap = _between(options.swap_colours, progress)
        self.crops.crop = replace(self.crops.crop, size=size, swap_colours=swap)
        count = max(options.batch * options.crop**2 // size**2, 1)
        colours = options.colours_until
        detail = min(max(progress / colours - 1, 0.0), 1.0) if colours > 0 else 1.0
        target = self.crops.batch(count).to(options.device)
        side = size // self.config.downscale
        noise = torch.randn((count, self.config.latent_channels, side, side), generator=self.noise)
        parts = list(zip(target.chunk(options.parts), noise.chunk(options.parts), strict=True))
        loss = self.workers.gradients(self.vae, parts, lambda part: self._loss(*part, chroma, detail))
        nn.utils.clip_grad_norm_(self.vae.parameters(), 4.0)
        self.optimizers.step(cosine(self.clock.progress))
        self.average.update(self.vae)
        return loss

    def _loss(self, target: Tensor, noise: Tensor, chroma: float, detail: float) -> Tensor:
        options = self.options
        # No cache of cast weights: it is shared between threads.
        with torch.autocast(options.device, torch.bfloat16, options.bf16, cache_enabled=False):
            moments = self.vae.quant_conv(self.vae.encoder(target)).float()
            latents, kl = self._latents(moments, noise.to(options.device))
            output = self.vae.decode(latents).sample.float()
        return reconstruction_loss(output, target, chroma, detail) + options.kl * kl

    def _latents(self, moments: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Latents for the decoder and the KL divergence from a unit normal, averaged per latent."""
        mean, logvar = moments.chunk(2, dim=1)
        logvar = logvar.clamp(*LOG_VARIANCE_RANGE)
        if self.clock.progress < self.options.posterior_from:
            scale = mean.detach().std() * self.options.latent_noise
            # A little of the mean's square keeps the latents' scale from drifting before the KL term does.
            return mean + scale * noise, 0.1 * 0.5 * mean.square().mean()
        kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
        return mean + (0.5 * logvar).exp() * noise, kl

    def state(self) -> dict[str, Any]:
        return {
            "vae": self.vae.state_dict(),
            "average": self.average.values,
            "average_updates": self.average.updates,
            "optimizers": self.optimizers.state_dict(),
            "crops": generator_state(self.crops.rng),
            "noise": self.noise.get_state(),
            "steps": self.clock.steps,
            "seconds": self.clock.seconds,
            "config": asdict(self.config),
        }

    def restore(self, state: dict[str, Any]) -> None:
        wanted = asdict(self.config)
        state["config"]["scaling_factor"] = wanted["scaling_factor"]  # measured at the end, no architecture
        require_same(state["config"], wanted, self.options.run)
        self.vae.load_state_dict(state["vae"])
        self.average.values, self.average.updates = state["average"], state["average_updates"]
        self.optimizers.load_state_dict(state["optimizers"])
        restore_generator(self.crops.rng, state["crops"])
        self.noise.set_state(state["noise"])
        self.clock.steps, self.clock.seconds = state["steps"], state["seconds"]

    def averaged(self) -> AutoencoderKL:
        """The averaged weights as a model on the CPU, in evaluation mode."""
        vae = build_vae(self.config)
        vae.load_state_dict({name: value.cpu() for name, value in self.average.values.items()})
        return vae

    @torch.no_grad()
    def measure(self, vae: AutoencoderKL, count: int = 32) -> tuple[float, float]:
        """Standard deviation of the latents of training photos, and the posterior's mean std over it."""
        crop = Crop(self.config.sample_size, max_scale=448)
        crops = PhotoCrops(self.options.photos, crop, self.options.seed).batch(count)
        posteriors = [vae.encode(image[None]).latent_dist for image in crops]
        std = float(torch.cat([posterior.mean for posterior in posteriors]).std())
        return std, float(torch.cat([posterior.std for posterior in posteriors]).mean()) / std

    def save(self) -> None:
        options, vae = self.options, self.averaged()
        save_state(options.run / "vae.pt", self.state())
        std, posterior = self.measure(vae)
        write_weights(vae, options.run / "vae.safetensors")
        write_config(options.run, vae=with_scaling(std, self.config))
        print(f"latents' standard deviation {std:.3f}, posterior's {posterior:.3f} of it", flush=True)
        if options.sheet_photos is not None:
            save_reconstructions(vae, options.sheet_photos, options.run / "vae.png")
            table = vae_table(vae, options.sheet_photos)
            print(json.dumps({"steps": self.clock.steps, **table["mean"]}), flush=True)


def run(
    options: VAETraining,
    config: VAEConfig,
    budget: Budget,
    losses: list[float] | None = None,
    start: AutoencoderKL | None = None,
) -> VAETrainer:
    """Trains, or goes on training, and returns the trainer. `losses` receives every step's loss.

    With `start`, trained weights, the phases that find colours and that leave the posterior out are skipped.
    """
    if start is not None:
        steady = (options.chroma[1],) * 2, (options.swap_colours[1],) * 2
        options = replace(
            options, colours_until=0.0, posterior_from=0.0, chroma=steady[0], swap_colours=steady[1]
        )
    trainer = VAETrainer(options, config, budget)
    if start is not None:
        trainer.vae.load_state_dict(start.state_dict())
        trainer.average = Average(trainer.vae, options.ema)
    checkpoint = options.run / "vae.pt"
    if checkpoint.exists():
        trainer.restore(load_state(checkpoint))
    train(trainer.clock, trainer.step, trainer.save, losses)
    return trainer


def main(arguments: list[str] | None = None) -> None:
    given = training_parser(__doc__, VAETraining, Budget()).parse_args(arguments)
    options, budget = chosen(given, VAETraining)
    with explained():
        start, config = read_vae(NANO) if given.init else (None, VAE_CONFIGS["nano"])
        run(options, config, budget, start=start)


if __name__ == "__main__":
    main()
