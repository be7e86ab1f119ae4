"""Keep training examples as latents, encoded once and used several times."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor

from moebius_edge.model.config import VAEConfig
from moebius_edge.training.continuing import continued
from moebius_edge.training.holes import Holes
from moebius_edge.training.photos import CropOptions, PhotoCrops


@dataclass(frozen=True)
class BankOptions:
    """How many examples are held, and how fast they are replaced."""

    examples: int = 384
    replaced: int = 2  # examples replaced per training step, the oldest first
    masks_per_crop: int = 2  # examples made of one crop: its own encoding is shared


@dataclass(frozen=True)
class Material:
    """What examples are made of."""

    photos: PhotoCrops
    holes: Holes
    crop: CropOptions  # of the model's resolution
    swap_colours: float = 0.1  # how often a crop's colour planes are permuted


@dataclass(frozen=True)
class Examples:
    """A batch that the U-Net is trained on; latents are scaled."""

    image: Tensor  # latents of photos [B,4,h,w]
    mask: Tensor  # [B,1,h,w], 1 = hole
    masked: Tensor  # latents of the same photos with grey holes [B,4,h,w]
    begun: Tensor  # those, continued into the holes: what an edit starts from [B,4,h,w]


def latent_mask(mask: Tensor, downscale: int) -> Tensor:
    """Resize a mask [B,1,H,W] of 0 and 1 to latent size [B,1,h,w] by nearest, as published."""
    return F.interpolate(mask, scale_factor=1 / downscale, mode="nearest")


@torch.no_grad()
def encode(vae: AutoencoderKL, image: Tensor, scaling: float) -> Tensor:
    """Encode photos [B,3,H,W] in [-1,1] as scaled posterior means [B,4,h,w].

    The encoder runs in bfloat16; the result is float32.
    """
    with torch.autocast(image.device.type, torch.bfloat16):
        moments = vae.quant_conv(vae.encoder(image))
    latents: Tensor = moments.chunk(2, dim=1)[0].float() * scaling
    return latents


class LatentBank:
    """A ring of examples: filled once, then `refresh` replaces the oldest.

    The seed of the photos and of the holes fixes them all.
    """

    def __init__(
        self, vae: AutoencoderKL, config: VAEConfig, material: Material, options: BankOptions
    ) -> None:
        device = material.photos.device
        self.vae, self.config, self.material = vae.to(device).eval(), config, material
        self.options, self.generator = options, material.photos.generator
        self.next = torch.zeros((), dtype=torch.int64, device=device)  # the oldest example
        side = material.crop.size // config.downscale
        self.image = torch.zeros(options.examples, 4, side, side, device=device)
        self.mask = torch.zeros(options.examples, 1, side, side, device=device)
        self.masked = torch.zeros(options.examples, 4, side, side, device=device)
        self.begun = torch.zeros(options.examples, 4, side, side, device=device)

    def fill(self) -> None:
        """Encode a whole bank."""
        self.next.zero_()
        for _ in range(0, self.options.examples, self.options.replaced):
            self.refresh()

    def refresh(self) -> None:
        """Replace the `replaced` oldest examples, rounded up to whole crops."""
        shared, crop = self.options.masks_per_crop, self.material.crop
        crops = -(-self.options.replaced // shared)
        image = self.material.photos.batch(crops, crop, self.material.swap_colours)
        mask = self.material.holes.batch(crops * shared, crop.size)
        # The published masked photo: black times white in [0, 1] would be -1; it is grey, 0 in [-1, 1].
        masked = image.repeat_interleave(shared, 0) * (1 - mask)
        latents = encode(self.vae, torch.cat([image, masked]), self.config.scaling_factor)
        where = (self.next + torch.arange(crops * shared, device=image.device)) % self.options.examples
        self.image[where] = latents[:crops].repeat_interleave(shared, 0)
        self.masked[where] = latents[crops:]
        self.mask[where] = small = latent_mask(mask, self.config.downscale)
        self.begun[where] = continued(latents[crops:], small)
        self.next.copy_((where[-1] + 1) % self.options.examples)

    def draw(self, count: int) -> Examples:
        """Return `count` different examples at random."""
        order = torch.randperm(self.options.examples, generator=self.generator, device=self.image.device)
        return self.examples(order[:count])

    def examples(self, picked: Tensor) -> Examples:
        """Return the examples at these places, int64 [B]."""
        return Examples(self.image[picked], self.mask[picked], self.masked[picked], self.begun[picked])
