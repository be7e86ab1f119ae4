"""Train the autoencoder, the first part of `python -m moebius_edge.training.nano`."""

import json
from dataclasses import asdict, dataclass, replace

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor, nn

from moebius_edge.model.config import VAEConfig
from moebius_edge.model.graphs import LOG_VARIANCE_RANGE
from moebius_edge.model.vae import build_vae
from moebius_edge.training.loop import Budget
from moebius_edge.training.metrics import vae_table
from moebius_edge.training.photos import CropOptions, PhotoCrops
from moebius_edge.training.sheets import save_reconstructions
from moebius_edge.training.trainer import GO_ON, Trainer, TrainingOptions, compile_in_place
from moebius_edge.training.weights import with_scaling, write_config, write_weights

# JFIF (ITU-T T.871) YCbCr rows: luma, blue difference, red difference.
YCBCR = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))


@dataclass(frozen=True)
class VAETraining(TrainingOptions):
    """How the autoencoder is trained."""

    batch: int = 32  # crops per step
    clip: float = 4.0
    crop: int = 64  # pixels
    # Progress until which only the colours of 8x8 blocks count. They are three numbers and the latents four,
    # so none is lost; begun with detail, the net spends its latents on luma and on one colour axis.
    colours_until: float = 0.06
    large_crop: int = 128  # pixels, in the last part, as many as keep the pixel count: fewer borders
    large_from: float = 0.7  # progress from which crops are large
    chroma: tuple[float, float] = (8.0, 2.0)  # weight of Cb and Cr against luma's 1: first, last
    swap_colours: tuple[float, float] = (0.6, 0.1)  # how often colour planes are permuted: first, last
    posterior_from: float = 0.7  # progress from which latents are sampled and the KL term counts
    kl: float = 0.03  # its weight; half of it is the relative error that sampling may cost
    latent_noise: float = 0.05  # noise on the deterministic latents before that, in standard deviations

    def going_on(self) -> "VAETraining":
        """Return the options of a run that starts from trained weights.

        Without the phases that find colours and leave out the KL.
        """
        steady = {"chroma": (self.chroma[1],) * 2, "swap_colours": (self.swap_colours[1],) * 2}
        return replace(self, lr=GO_ON * self.lr, colours_until=0.0, posterior_from=0.0, **steady)


def reconstruction_loss(output: Tensor, target: Tensor, chroma: Tensor, detail: Tensor) -> Tensor:
    """Return the mean over the batch of the logarithm of the mean squared error.

    Its gradient is that of the mean PSNR. `output`, `target`: [B, 3, H, W] in [-1, 1]. The squared error is
    taken in YCbCr, with the chroma planes weighed up by `chroma`, over 8x8 blocks and, weighed by `detail` in
    [0, 1], at full size.
    """
    red, green, blue = (output - target).unbind(1)
    planes = [row[0] * red + row[1] * green + row[2] * blue for row in YCBCR]
    error = torch.stack([planes[0], planes[1] * chroma.sqrt(), planes[2] * chroma.sqrt()], dim=1)
    fine = error.square().sum(1).mean((1, 2))
    coarse = F.avg_pool2d(error, 8).square().sum(1).mean((1, 2))
    return (detail * (fine + 2e-3).log() + (1 - 0.7 * detail) * (coarse + 5e-4).log()).mean()


def _between(ends: tuple[float, float], progress: float) -> float:
    """Return the value at `progress`: from the first to the last over the first 60 % of the run."""
    return ends[0] + (ends[1] - ends[0]) * min(progress / 0.6, 1.0)


def start_calm(vae: AutoencoderKL) -> None:
    """Set residual branches to zero: the net begins as a chain of resamplings, with a narrow posterior."""
    for name, module in vae.named_modules():
        if name.endswith(("conv2", "to_out.0")):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)
    with torch.no_grad():
        channels = vae.quant_conv.weight.shape[0] // 2
        vae.quant_conv.weight[channels:] *= 0.05
        vae.quant_conv.bias[channels:] = -5.0


class VAETrainer(Trainer):
    """The run that trains the autoencoder."""

    file = "vae.pt"
    options: VAETraining

    def __init__(
        self,
        options: VAETraining,
        config: VAEConfig,
        budget: Budget,
        photos: PhotoCrops,
        start: AutoencoderKL | None = None,
    ) -> None:
        """Begin from `start`, trained weights, or afresh."""
        torch.manual_seed(options.seed)
        vae = build_vae(config).requires_grad_(True)
        if start is None:
            start_calm(vae)
        else:
            vae.load_state_dict(start.state_dict())
            options = options.going_on()
        self.config, self.photos = config, photos
        self.noise = torch.Generator(options.device).manual_seed(options.seed + 1)
        # What changes along the run is a tensor: a captured step reads it.
        self.chroma, self.swap, self.detail = (torch.zeros((), device=options.device) for _ in range(3))
        # The scaling factor is measured at the end: it is no architecture.
        architecture = asdict(replace(config, scaling_factor=1.0))
        generators = {"photos": photos.generator, "noise": self.noise}
        vae.to(memory_format=torch.channels_last)
        super().__init__(vae, options, architecture, budget, generators)
        if options.compile:
            compile_in_place((self.model.encoder, self.model.decoder))

    def schedule(self) -> None:
        """Set the rate, the weights of chroma and detail, the share of swapped colours, the crop's size."""
        super().schedule()
        options, progress = self.options, self.clock.progress
        self.chroma.fill_(_between(options.chroma, progress))
        self.swap.fill_(_between(options.swap_colours, progress))
        colours = options.colours_until
        self.detail.fill_(min(max(progress / colours - 1, 0.0), 1.0) if colours > 0 else 1.0)
        self.sampled = progress >= options.posterior_from
        self.size = options.large_crop if progress >= options.large_from else options.crop

    def phase(self) -> tuple[bool, int]:
        """Return whether latents are sampled, and the crop's size: both are built into a captured step."""
        return self.sampled, self.size

    def examples(self) -> int:
        """Return how many crops the next step has: fewer large ones, as many pixels."""
        return max(self.options.batch * self.options.crop**2 // self.size**2, 1)

    def parts(self) -> list[tuple[Tensor, Tensor]]:
        """Return crops and the noise on their latents, in parts."""
        options, size, count = self.options, self.size, self.examples()
        target = self.photos.batch(count, CropOptions(size), self.swap)
        side = size // self.config.downscale
        shape = (count, self.config.latent_channels, side, side)
        noise = torch.randn(shape, generator=self.noise, device=options.device)
        return list(zip(target.chunk(options.parts), noise.chunk(options.parts), strict=True))

    def loss(self, part: tuple[Tensor, Tensor]) -> Tensor:
        """Return the reconstruction loss of crops, and the weighted KL divergence of their latents."""
        target, noise = part
        with self.autocast():
            moments = self.model.quant_conv(self.model.encoder(target)).float()
            latents, kl = self._latents(moments, noise)
            output = self.model.decoder(self.model.post_quant_conv(latents)).float()
        loss = reconstruction_loss(output, target, self.chroma, self.detail)
        return loss + self.options.kl * kl

    def _latents(self, moments: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return latents for the decoder and the KL divergence from a unit normal, averaged per latent."""
        mean, logvar = moments.chunk(2, dim=1)
        logvar = logvar.clamp(*LOG_VARIANCE_RANGE)
        if not self.sampled:
            scale = mean.detach().std() * self.options.latent_noise
            # A little of the mean's square keeps the latents' scale from drifting before the KL term does.
            return mean + scale * noise, 0.1 * 0.5 * mean.square().mean()
        kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
        return mean + (0.5 * logvar).exp() * noise, kl

    def averaged(self) -> AutoencoderKL:
        """Return the averaged weights as a model on the run's device, in evaluation mode."""
        vae = build_vae(self.config).to(self.options.device)
        vae.load_state_dict(self.average.values)
        return vae.requires_grad_(False)

    @torch.no_grad()
    def measure(self, vae: AutoencoderKL, count: int = 32) -> tuple[float, float]:
        """Return the std of the latents of `count` training crops, and the posterior's mean std over it."""
        state = self.photos.generator.get_state()
        crops = self.photos.batch(count, CropOptions(self.config.sample_size), 0.0)
        self.photos.generator.set_state(state)  # saving does not change the run
        posteriors = [vae.encode(image[None]).latent_dist for image in crops]
        std = float(torch.cat([posterior.mean for posterior in posteriors]).std())
        return std, float(torch.cat([posterior.std for posterior in posteriors]).mean()) / std

    def write(self, last: bool) -> None:
        """Write the averaged weights, their config.json with the scaling factor; with `last`, a sheet."""
        folder, vae = self.options.run, self.averaged()
        std, posterior = self.measure(vae)
        write_weights(vae, folder / "vae.safetensors")
        write_config(folder, vae=with_scaling(std, self.config))
        print(f"latents' standard deviation {std:.3f}, posterior's {posterior:.3f} of it", flush=True)
        if last and self.options.sheet_photos is not None:
            vae.cpu()
            save_reconstructions(vae, self.options.sheet_photos, folder / "vae.jpg")
            mean = vae_table(vae, self.options.sheet_photos)["mean"]
            print(json.dumps({"steps": self.clock.steps, **mean}), flush=True)
