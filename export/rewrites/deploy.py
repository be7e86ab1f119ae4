"""Build the deploy denoiser: the reference's function, rewritten for inference.

Every BatchNorm is folded, the conditioning is constant, and the guidance branches share their common prefix.
What the blocks look like depends on the layout: `channels_first`, `channels_last`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from moebius_edge.export.rewrites import channels_first, channels_last
from moebius_edge.export.rewrites.forms import Forms, Layout
from moebius_edge.export.rewrites.interactive_lambda import branch_contexts
from moebius_edge.export.rewrites.upsample import deploy_upsample
from moebius_edge.model.unet import Moebius


@dataclass(frozen=True)
class Blocks:
    """The parts of the U-Net in one layout; `size` is the side of a part's input in latents."""

    channels: int  # the dimension of the channels
    separable: Callable[..., nn.Module]  # (reference's, size)
    residual: Callable[..., nn.Module]  # (reference's, size)
    unit: Callable[..., nn.Module]  # (reference's, context, size, forms)
    norm: Callable[..., nn.Module]  # (reference's)
    downsample: Callable[..., nn.Module]  # (convolution, size)
    upsample: Callable[..., nn.Module]  # (convolution, size, forms)


BLOCKS: dict[Layout, Blocks] = {
    "channels_first": Blocks(
        channels=1,
        separable=channels_first.PictureSeparableConv,
        residual=channels_first.PictureResidualBlock,
        unit=channels_first.PictureTransformerUnit,
        norm=lambda source: source,
        downsample=lambda conv, size: conv,
        upsample=lambda conv, size, forms: deploy_upsample(conv, forms.upsample),
    ),
    "channels_last": Blocks(
        channels=2,
        separable=channels_last.TokenSeparableConv,
        residual=channels_last.TokenResidualBlock,
        unit=channels_last.TokenTransformerUnit,
        norm=channels_last.GroupNorm,
        downsample=channels_last.SpatialConv,
        upsample=lambda conv, size, forms: channels_last.TokenUpsample(conv, size),
    ),
}


class DeployDenoiser(nn.Module):
    """The denoiser graph: guided noise from latents, with the interface of `model.graphs.Denoiser`."""

    def __init__(self, model: Moebius, forms: Forms) -> None:
        super().__init__()
        unet, size = model.diff_model, model.config.latent_size
        blocks = BLOCKS[forms.layout]
        context = branch_contexts(model.embedding_layer, unet.encoder_hid_proj, model.config.prompt_tokens)

        def pairs(stage: nn.Module, side: int) -> nn.ModuleList:
            return nn.ModuleList(
                nn.ModuleList([blocks.residual(resnet, side), blocks.unit(unit, context, side, forms)])
                for resnet, unit in zip(stage.resnets, stage.attentions, strict=True)
            )

        down = [(stage, size >> i) for i, stage in enumerate(unet.down_blocks)]
        up = [(stage, size >> (len(unet.up_blocks) - 1 - i)) for i, stage in enumerate(unet.up_blocks)]
        self.channels = blocks.channels
        self.conv_in = blocks.separable(unet.conv_in, size)
        self.time_embedding = unet.time_embedding
        self.down = nn.ModuleList(pairs(stage, side) for stage, side in down)
        self.up = nn.ModuleList(pairs(stage, side) for stage, side in up)
        self.downsamplers = nn.ModuleList(
            blocks.downsample(stage.downsamplers[0].conv, side) for stage, side in down[:-1]
        )
        self.upsamplers = nn.ModuleList(
            blocks.upsample(stage.upsamplers[0].conv, side, forms) for stage, side in up[:-1]
        )
        self.norm_out = blocks.norm(unet.conv_norm_out)
        self.conv_out = blocks.separable(unet.conv_out, size)

    def forward(
        self, latents: Tensor, mask: Tensor, masked_latents: Tensor, timestep: Tensor, guidance: Tensor
    ) -> Tensor:
        """Predict the guided noise; shapes as in `model.graphs.Denoiser.forward`."""
        time = F.silu(self.time_embedding(timestep))
        # Batch 1 until the first Interactive-λ: the guidance branches are the same picture up to there.
        sample = torch.cat([latents, mask, masked_latents], dim=1)
        x = self.conv_in(sample if self.channels == 1 else sample.flatten(2).transpose(1, 2))
        skips = [x.expand(2, *x.shape[1:])]
        for i, pairs in enumerate(self.down):
            for resnet, unit in pairs:
                x = unit(resnet(x, time))
                skips.append(x)
            if i < len(self.downsamplers):
                x = self.downsamplers[i](x)
                skips.append(x)
        for i, pairs in enumerate(self.up):
            for resnet, unit in pairs:
                x = unit(resnet(torch.cat([x, skips.pop()], dim=self.channels), time))
            if i < len(self.upsamplers):
                x = self.upsamplers[i](x)
        unconditional, conditional = self.conv_out(F.silu(self.norm_out(x))).chunk(2)
        noise = unconditional + guidance * (conditional - unconditional)
        return noise if self.channels == 1 else noise.transpose(1, 2).reshape(latents.shape)
