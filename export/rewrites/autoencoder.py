"""Rewrite the encoder and the decoder for deployment: scalings are folded, upsamplers exact and cheaper."""

import copy

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from moebius_edge.export.rewrites.fold import affine_after, affine_before
from moebius_edge.export.rewrites.forms import Forms, UpsampleForm
from moebius_edge.export.rewrites.upsample import deploy_upsample
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
        """Encode a picture; shapes as in `model.graphs.Encoder.forward`."""
        mean, log_variance = self.quant_conv(self.encoder(image)).chunk(2, dim=1)
        return mean, torch.exp(0.5 * log_variance.clamp(*LOG_VARIANCE_RANGE)) * self.scaling_factor


class DeployDecoder(nn.Module):
    """The decoder graph, with the interface of `model.graphs.Decoder`; both scalings are in its weights."""

    def __init__(self, vae: AutoencoderKL, forms: Forms) -> None:
        super().__init__()
        inputs = vae.post_quant_conv.in_channels
        unscale = torch.full((inputs,), 1.0 / float(vae.config.scaling_factor), dtype=torch.float64)
        self.post_quant_conv = affine_before(vae.post_quant_conv, unscale, torch.zeros_like(unscale))
        # A copy, because parts of it are replaced: the reference stays as it is.
        self.decoder = copy.deepcopy(vae.decoder)
        for block in self.decoder.up_blocks:
            for i, resnet in enumerate(block.resnets):
                if resnet.conv_shortcut is not None and forms.decoder_shortcut == "product":
                    block.resnets[i] = _ShortcutFirst(resnet)
            for i, upsampler in enumerate(block.upsamplers or ()):
                block.upsamplers[i] = _Upsample2D(upsampler.conv, forms.decoder_upsample)
        half = torch.full((self.decoder.conv_out.out_channels,), 0.5, dtype=torch.float64)
        self.decoder.conv_out = affine_after(self.decoder.conv_out, half, half)

    def forward(self, latents: Tensor) -> Tensor:
        """Decode latents; shapes as in `model.graphs.Decoder.forward`."""
        image: Tensor = self.decoder(self.post_quant_conv(latents))
        return image.clamp(0.0, 1.0)


class _ShortcutFirst(nn.Module):
    """diffusers' `ResnetBlock2D` with a shortcut, computed first and as a matrix product.

    The block's input, 268 MB at 512 x 512, can then be freed before the block needs most memory. As a 1x1
    convolution the shortcut would come last: ONNX Runtime adds the other path inside of it.
    """

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        shortcut = block.conv_shortcut
        assert isinstance(shortcut, nn.Conv2d) and shortcut.kernel_size == (1, 1)
        assert shortcut.bias is not None and block.output_scale_factor == 1.0
        self.block = block
        self.register_buffer("shortcut_weight", shortcut.weight.detach()[:, :, 0, 0].clone())
        self.register_buffer("shortcut_bias", shortcut.bias.detach()[:, None].clone())

    def forward(self, image: Tensor, temb: None = None) -> Tensor:
        """Map [B,C,h,w] to [B,D,h,w]; a VAE has no time embedding."""
        shortcut = self.shortcut_weight @ image.flatten(2) + self.shortcut_bias
        shortcut = shortcut.reshape(image.shape[0], -1, *image.shape[2:])
        block = self.block
        hidden = block.conv1(block.nonlinearity(block.norm1(image)))
        hidden = block.conv2(block.nonlinearity(block.norm2(hidden)))
        out: Tensor = shortcut + hidden
        return out


class _Upsample2D(nn.Module):
    """A replacement of diffusers' `Upsample2D`, whose forward takes an output size."""

    def __init__(self, conv: nn.Conv2d, form: UpsampleForm) -> None:
        super().__init__()
        self.upsample = deploy_upsample(conv, form)

    def forward(self, hidden_states: Tensor, output_size: int | None = None) -> Tensor:
        """Map [B,C,h,w] to [B,C,2h,2w]; `output_size` must be None."""
        assert output_size is None, "static shapes: the output is twice the input"
        upsampled: Tensor = self.upsample(hidden_states)
        return upsampled
