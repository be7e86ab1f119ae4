"""The deploy encoder and decoder: diffusers' modules with the scalings folded and exact upsamplers."""

import copy

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from moebius_edge.export.fold import affine_after, affine_before
from moebius_edge.export.forms import Forms, UpsampleForm
from moebius_edge.export.upsample import deploy_upsample
from moebius_edge.model.graphs import LOG_VARIANCE_RANGE


class DeployEncoder(nn.Module):
    """The encoder graph (interface: `model.graphs.Encoder`); the mean's scaling is in its weights."""

    def __init__(self, vae: AutoencoderKL) -> None:
        super().__init__()
        self.encoder = vae.encoder
        self.scaling_factor = float(vae.config.scaling_factor)
        channels = vae.quant_conv.out_channels
        scale = torch.ones(channels, dtype=torch.float64)
        scale[: channels // 2] = self.scaling_factor
        self.quant_conv = affine_after(vae.quant_conv, scale, torch.zeros_like(scale))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Shapes as in `model.graphs.Encoder.forward`."""
        mean, log_variance = self.quant_conv(self.encoder(image)).chunk(2, dim=1)
        return mean, torch.exp(0.5 * log_variance.clamp(*LOG_VARIANCE_RANGE)) * self.scaling_factor


class DeployDecoder(nn.Module):
    """The decoder graph, with the interface of `model.graphs.Decoder`; both scalings are in its weights."""

    def __init__(self, vae: AutoencoderKL, forms: Forms) -> None:
        super().__init__()
        inputs = vae.post_quant_conv.in_channels
        unscale = torch.full((inputs,), 1.0 / float(vae.config.scaling_factor), dtype=torch.float64)
        self.post_quant_conv = affine_before(vae.post_quant_conv, unscale, torch.zeros_like(unscale))
        # A copy, because its upsamplers are replaced: the reference stays as it is.
        self.decoder = copy.deepcopy(vae.decoder)
        for block in self.decoder.up_blocks:
            for i, upsampler in enumerate(block.upsamplers or ()):
                block.upsamplers[i] = _Upsample2D(upsampler.conv, forms.decoder_upsample)
        half = torch.full((self.decoder.conv_out.out_channels,), 0.5, dtype=torch.float64)
        self.decoder.conv_out = affine_after(self.decoder.conv_out, half, half)

    def forward(self, latents: Tensor) -> Tensor:
        """Shapes as in `model.graphs.Decoder.forward`."""
        image: Tensor = self.decoder(self.post_quant_conv(latents))
        return image.clamp(0.0, 1.0)


class _Upsample2D(nn.Module):
    """Stands in for diffusers' `Upsample2D`, whose forward takes an output size."""

    def __init__(self, conv: nn.Conv2d, form: UpsampleForm) -> None:
        super().__init__()
        self.upsample = deploy_upsample(conv, form)

    def forward(self, hidden_states: Tensor, output_size: int | None = None) -> Tensor:
        assert output_size is None, "static shapes: the output is twice the input"
        upsampled: Tensor = self.upsample(hidden_states)
        return upsampled
