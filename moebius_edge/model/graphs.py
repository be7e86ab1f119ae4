"""Wrap the FP32 reference as the three graphs that an app runs (see docs/graphs.md).

Batch 1 outside; the denoiser runs both guidance branches as a batch of two inside.
"""

from typing import cast

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from moebius_edge.model.unet import Moebius

LOG_VARIANCE_RANGE = (-30.0, 20.0)  # AutoencoderKL's clamp of the posterior's log variance


class Encoder(nn.Module):
    """Picture -> mean and standard deviation of the latent posterior, times the scaling factor."""

    def __init__(self, vae: AutoencoderKL) -> None:
        super().__init__()
        self.encoder, self.quant_conv = vae.encoder, vae.quant_conv
        self.scaling_factor = float(vae.config.scaling_factor)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Encode `image` [1,3,H,W] in [-1,1]; returns mean and std, [1,4,h,w] each."""
        mean, log_variance = self.quant_conv(self.encoder(image)).chunk(2, dim=1)
        std = torch.exp(0.5 * log_variance.clamp(*LOG_VARIANCE_RANGE))
        return mean * self.scaling_factor, std * self.scaling_factor


class Denoiser(nn.Module):
    """One guided prediction of the noise: u + g (c - u), with the unconditional branch first."""

    def __init__(self, model: Moebius) -> None:
        super().__init__()
        self.model = model
        tokens = model.config.prompt_tokens
        prompts = torch.stack([torch.arange(tokens, 2 * tokens), torch.arange(tokens)])
        self.register_buffer("prompt_ids", prompts, persistent=False)

    def forward(
        self, latents: Tensor, mask: Tensor, masked_latents: Tensor, timestep: Tensor, guidance: Tensor
    ) -> Tensor:
        """Predict the guided noise [1,4,h,w] of one step.

        `latents` [1,4,h,w], `mask` [1,1,h,w] (1 = hole), `masked_latents` [1,4,h,w], `timestep` [1],
        `guidance` [1].
        """
        sample = torch.cat([latents, mask, masked_latents], dim=1)
        noise = self.model(torch.cat([sample, sample]), timestep.expand(2), self.prompt_ids)
        unconditional, conditional = noise.chunk(2)
        return cast(Tensor, unconditional + guidance.reshape(1, 1, 1, 1) * (conditional - unconditional))


class Decoder(nn.Module):
    """Scaled latents -> picture in [0,1]."""

    def __init__(self, vae: AutoencoderKL) -> None:
        super().__init__()
        self.post_quant_conv, self.decoder = vae.post_quant_conv, vae.decoder
        self.scaling_factor = float(vae.config.scaling_factor)

    def forward(self, latents: Tensor) -> Tensor:
        """Decode scaled `latents` [1,4,h,w]; returns the image [1,3,H,W], clamped to [0,1]."""
        image = self.decoder(self.post_quant_conv(latents / self.scaling_factor))
        return (image * 0.5 + 0.5).clamp(0.0, 1.0)


def build_graphs(model: Moebius, vae: AutoencoderKL) -> dict[str, nn.Module]:
    """Return the reference graphs "encoder", "denoiser" and "decoder", in evaluation mode.

    They share the weights of `model` and `vae`.
    """
    graphs = {"encoder": Encoder(vae), "denoiser": Denoiser(model), "decoder": Decoder(vae)}
    return {name: graph.eval() for name, graph in graphs.items()}
