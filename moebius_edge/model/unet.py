"""The Moebius U-Net, which predicts the noise in the latents of a masked picture (arXiv 2606.19195)."""

from typing import cast

import torch
from torch import Tensor, nn

from moebius_edge.model.blocks import (
    Downsample,
    ResidualBlock,
    SeparableConv,
    TimeEmbedding,
    TransformerUnit,
    Upsample,
)
from moebius_edge.model.config import MoebiusConfig


class Stage(nn.Module):
    """Residual + transformer pairs at one resolution, then at most one resampler."""

    def __init__(self, widths: list[tuple[int, int]], size: int, config: MoebiusConfig) -> None:
        super().__init__()
        time_dim, groups = config.time_embedding_dim, config.norm_groups
        self.resnets = nn.ModuleList([ResidualBlock(i, o, time_dim, groups) for i, o in widths])
        self.attentions = nn.ModuleList([TransformerUnit(o, size * size, config) for _, o in widths])


class DownStage(Stage):
    """Two pairs; every output is kept for the way up, the downsampled one too."""

    def __init__(
        self, widths: list[tuple[int, int]], size: int, downsample: bool, config: MoebiusConfig
    ) -> None:
        super().__init__(widths, size, config)
        if downsample:
            self.downsamplers = nn.ModuleList([Downsample(widths[-1][1])])

    def forward(self, x: Tensor, time: Tensor, context: Tensor) -> list[Tensor]:
        """Return the outputs for `x` [B,C,h,w] in order; the last one goes on to the next stage."""
        outputs = []
        for resnet, attention in zip(self.resnets, self.attentions, strict=True):
            x = attention(resnet(x, time), context)
            outputs.append(x)
        for resampler in getattr(self, "downsamplers", ()):
            outputs.append(resampler(x))
        return outputs


class UpStage(Stage):
    """Three pairs, each on the concatenation with the newest output of the way down."""

    def __init__(
        self, widths: list[tuple[int, int]], size: int, upsample: bool, config: MoebiusConfig
    ) -> None:
        super().__init__(widths, size, config)
        if upsample:
            self.upsamplers = nn.ModuleList([Upsample(widths[-1][1])])

    def forward(self, x: Tensor, skips: list[Tensor], time: Tensor, context: Tensor) -> Tensor:
        """Map `x` [B,C,h,w] to the input of the next stage.

        Takes its skips off the end of `skips`, which gets shorter.
        """
        for resnet, attention in zip(self.resnets, self.attentions, strict=True):
            x = attention(resnet(torch.cat([x, skips.pop()], dim=1), time), context)
        for resampler in getattr(self, "upsamplers", ()):
            x = resampler(x)
        return x


class UNet(nn.Module):
    """Three down stages, three up stages, no middle block."""

    def __init__(self, config: MoebiusConfig) -> None:
        super().__init__()
        channels = config.block_out_channels
        last = len(channels) - 1
        self.conv_in = SeparableConv(config.in_channels, channels[0])
        self.time_embedding = TimeEmbedding(channels[0], config.time_embedding_dim)
        self.encoder_hid_proj = nn.Linear(config.embedding_dim, config.cross_attention_dim)
        skips = [channels[0]]
        self.down_blocks = nn.ModuleList()
        for i, width in enumerate(channels):
            inner = [(skips[-1], width)] + [(width, width)] * (config.down_layers - 1)
            self.down_blocks.append(DownStage(inner, config.latent_size >> i, i < last, config))
            skips += [width] * (config.down_layers + (i < last))
        self.up_blocks = nn.ModuleList()
        previous = channels[-1]
        for i, width in reversed(list(enumerate(channels))):
            inner = []
            for _ in range(config.up_layers):
                inner.append((previous + skips.pop(), width))
                previous = width
            self.up_blocks.append(UpStage(inner, config.latent_size >> i, i > 0, config))
        self.conv_norm_out = nn.GroupNorm(config.norm_groups, channels[0])
        self.conv_out = SeparableConv(channels[0], config.out_channels)

    def forward(self, sample: Tensor, timestep: Tensor, categories: Tensor) -> Tensor:
        """Predict the noise [B,4,h,w] in `sample` [B,9,h,w].

        `timestep` [B]; `categories` [B,m,embedding_dim]: the embedded prompt.
        """
        context = self.encoder_hid_proj(categories)
        time = nn.functional.silu(self.time_embedding(timestep))
        skips = [self.conv_in(sample)]
        for down in self.down_blocks:
            skips += down(skips[-1], time, context)
        # There is no middle block: the way up starts from the last output, which is also its first skip.
        x = skips[-1]
        for up in self.up_blocks:
            x = up(x, skips, time, context)
        return cast(Tensor, self.conv_out(nn.functional.silu(self.conv_norm_out(x))))


class Moebius(nn.Module):
    """The published model: the latent-category embedding and the U-Net.

    `load_state_dict(strict=True)` takes the published checkpoint's 1,203 tensors.
    """

    def __init__(self, config: MoebiusConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding_layer = nn.Embedding(2 * config.prompt_tokens, config.embedding_dim)
        self.diff_model = UNet(config)

    def forward(self, sample: Tensor, timestep: Tensor, prompt_ids: Tensor) -> Tensor:
        """Predict the noise.

        `sample` [B,9,h,w]: noisy latents, mask (1 = hole), latents of the masked picture, all scaled;
        `timestep` [B], 0 to 999; `prompt_ids` [B,10] int64: rows 0-9 conditional, 10-19 unconditional.
        Returns the noise [B,4,h,w]. Raises ValueError when h or w is not the configured latent size.
        """
        size = self.config.latent_size
        if tuple(sample.shape[1:]) != (self.config.in_channels, size, size):
            raise ValueError(
                f"sample is {list(sample.shape)}; expected [B, {self.config.in_channels}, {size}, {size}]: "
                "the Interactive-λ position tables fix the latent size"
            )
        return cast(Tensor, self.diff_model(sample, timestep, self.embedding_layer(prompt_ids)))
