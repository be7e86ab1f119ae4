"""Fills holes with the FP32 PyTorch model, in batches: for sample sheets and for the evaluation."""

from dataclasses import dataclass

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from moebius_edge.model.config import MoebiusConfig
from moebius_edge.scheduler import DDIM
from moebius_edge.training.latents import latent_mask


@dataclass(frozen=True)
class Sampling:
    """How holes are filled."""

    steps: int = 20
    guidance: float = 2.0
    strength: float = 0.99  # below 1 the loop starts from the photo, its hole in its mean colour, under noise
    seed: int = 0
    noise_offset: float = 0.0357  # standard deviation of the noise shared by a latent plane


def guided_noise(model: nn.Module, sample: Tensor, timestep: int, guidance: float) -> Tensor:
    """u + g (c - u) for `sample` [B,9,h,w]; the noise [B,4,h,w]."""
    count = len(sample)
    time = torch.full((2 * count,), timestep, device=sample.device)
    tokens = MoebiusConfig.prompt_tokens
    prompts = torch.arange(2 * tokens, device=sample.device).reshape(2, tokens).repeat_interleave(count, 0)
    conditional, unconditional = model(torch.cat([sample, sample]), time, prompts).chunk(2)
    guided: Tensor = unconditional + guidance * (conditional - unconditional)
    return guided


def mean_colour(photo: Tensor, mask: Tensor) -> Tensor:
    """A photo [3,H,W] as [1,3,H,W] with its hole, 1 in `mask` [1,H,W], in the mean colour of the rest."""
    rest = 1 - mask
    mean = (photo * rest).sum((1, 2), keepdim=True) / rest.sum().clamp(min=1)
    return (photo * rest + mean * mask)[None]


@torch.inference_mode()
def fill(
    model: nn.Module, vae: AutoencoderKL, photos: Tensor, masks: Tensor, sampling: Sampling | None = None
) -> Tensor:
    """Photos [B,3,H,W] in [-1,1] with the holes of `masks` [B,1,H,W] (1 = hole) filled, the rest as it was.

    What is under the mask is thrown away first, so nothing of it can leak into the result.
    `model` and `vae` are in evaluation mode. Each photo has its own noise, from the seed and its place.
    """
    options = sampling or Sampling()
    scaling = float(vae.config.scaling_factor)
    masked = torch.cat([vae.encode(p[None]).latent_dist.mean for p in photos * (1 - masks)]) * scaling
    downscale = photos.shape[-1] // masked.shape[-1]
    mask = latent_mask(masks, downscale)
    generator = torch.Generator().manual_seed(options.seed)
    noise = torch.randn(masked.shape, generator=generator)
    noise = noise + options.noise_offset * torch.randn((*masked.shape[:2], 1, 1), generator=generator)
    ddim = DDIM()
    start = ddim.start(options.steps, options.strength)
    latents = start.sqrt_one_minus_alpha_bar * noise
    if options.strength < 1:
        begun = torch.cat([mean_colour(*pair) for pair in zip(photos, masks, strict=True)])
        image = torch.cat([vae.encode(p[None]).latent_dist.mean for p in begun]) * scaling
        latents = latents + start.sqrt_alpha_bar * image
    for step in ddim.coefficients(options.steps, options.strength):
        sample = torch.cat([latents, mask, masked], dim=1)
        latents = step.a * latents + step.b * guided_noise(model, sample, step.timestep, options.guidance)
    output = torch.cat([vae.decode(z[None] / scaling).sample for z in latents]).clamp(-1, 1)
    return photos * (1 - masks) + output * masks
