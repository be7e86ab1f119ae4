"""The building blocks of the Moebius U-Net (arXiv 2606.19195).

Tensor names are the published checkpoint's.
"""

import math
from typing import cast

import torch
from torch import Tensor, nn

from moebius_edge.model.config import MoebiusConfig
from moebius_edge.model.lambdas import InteractiveLambda, LocalLambda


class SeparableConv(nn.Module):
    """Depthwise-separable convolution: y = BN(W_pw ReLU(BN(W_dw * x))), + x when the widths are equal."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv_dw = nn.Conv2d(in_channels, in_channels, 3, padding=1, groups=in_channels, bias=False)
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv_pw = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.residual = in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """Map `x` [B,in,h,w] to [B,out,h,w]."""
        y = self.bn2(self.conv_pw(self.bn1(self.conv_dw(x)).relu()))
        return cast(Tensor, x + y if self.residual else y)


class ResidualBlock(nn.Module):
    """y = f2(SiLU(GN(f1(SiLU(GN(x))) + W_t SiLU(t)))) + shortcut(x), with f separable convolutions."""

    def __init__(self, in_channels: int, out_channels: int, time_dim: int, groups: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, in_channels)
        self.conv1 = SeparableConv(in_channels, out_channels)
        self.time_emb_proj = nn.Linear(time_dim, out_channels)
        self.norm2 = nn.GroupNorm(groups, out_channels)
        self.conv2 = SeparableConv(out_channels, out_channels)
        self.conv_shortcut = (
            nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else nn.Identity()
        )

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Map `x` [B,in,h,w] to [B,out,h,w]. `time` [B,time_dim] has been through SiLU already."""
        y = self.conv1(nn.functional.silu(self.norm1(x)))
        y = y + self.time_emb_proj(time)[:, :, None, None]
        y = self.conv2(nn.functional.silu(self.norm2(y)))
        return cast(Tensor, self.conv_shortcut(x) + y)


class NamedConv(nn.Module):
    """One convolution under the name `conv`, as the published Mix-FFN stores its three."""

    def __init__(self, in_channels: int, out_channels: int, size: int, *, groups: int, bias: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, size, padding=size // 2, groups=groups, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map `x` [B,in,h,w] to [B,out,h,w]."""
        return cast(Tensor, self.conv(x))


class MixFFN(nn.Module):
    """a, g = split(DW3x3(SiLU(W_1 x))); y = W_2 (a * SiLU(g)). W_1 widens C to 5C."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = 5 * channels
        self.inverted_conv = NamedConv(channels, hidden, 1, groups=1, bias=True)
        self.depth_conv = NamedConv(hidden, hidden, 3, groups=hidden, bias=True)
        self.point_conv = NamedConv(hidden // 2, channels, 1, groups=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map `x` [B,C,h,w] to the same shape."""
        hidden = self.depth_conv(nn.functional.silu(self.inverted_conv(x)))
        value, gate = hidden.chunk(2, dim=1)
        return cast(Tensor, self.point_conv(value * nn.functional.silu(gate)))


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of [B,C,h,w]."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise every position of `x` [B,C,h,w] over its channels."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class LambdaBlock(nn.Module):
    """x += Local-λ(LN x); x += Interactive-λ(LN x, categories); x += Mix-FFN(LN x)."""

    def __init__(self, channels: int, positions: int, config: MoebiusConfig) -> None:
        super().__init__()
        self.norm1 = ChannelNorm(channels)
        self.attn1 = LocalLambda(channels, config.num_heads, config.position_window)
        self.norm2 = ChannelNorm(channels)
        self.attn2 = InteractiveLambda(
            channels, config.num_heads, config.cross_attention_dim, positions, config.prompt_tokens
        )
        self.norm3 = ChannelNorm(channels)
        self.ff = MixFFN(channels)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Map `x` [B,C,h,w] to the same shape. `context` [B,m,D]: the latent-category tokens."""
        x = x + self.attn1(self.norm1(x))
        x = x + self.attn2(self.norm2(x), context)
        return cast(Tensor, x + self.ff(self.norm3(x)))


class TransformerUnit(nn.Module):
    """The LλMI unit: y = x + W_out block(W_in GN(x))."""

    def __init__(self, channels: int, positions: int, config: MoebiusConfig) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(config.norm_groups, channels, eps=1e-6)
        self.proj_in = nn.Conv2d(channels, channels, 1)
        self.transformer_blocks = nn.ModuleList([LambdaBlock(channels, positions, config)])
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Map `x` [B,C,h,w] to the same shape. `context` [B,m,D]: the latent-category tokens."""
        y = self.proj_in(self.norm(x))
        for block in self.transformer_blocks:
            y = block(y, context)
        return cast(Tensor, x + self.proj_out(y))


class Downsample(nn.Module):
    """3x3 convolution with stride 2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map `x` [B,C,h,w] to [B,C,h/2,w/2]."""
        return cast(Tensor, self.conv(x))


class Upsample(nn.Module):
    """Nearest x2, then a 3x3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map `x` [B,C,h,w] to [B,C,2h,2w]."""
        return cast(Tensor, self.conv(nn.functional.interpolate(x, scale_factor=2.0, mode="nearest")))


class TimeEmbedding(nn.Module):
    """The embedding of timesteps: t -> W_2 SiLU(W_1 [cos(ω t), sin(ω t)]) with ω_i = 10000^(-i / half)."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.width = width
        self.linear_1 = nn.Linear(width, out)
        self.linear_2 = nn.Linear(out, out)

    def frequencies(self, device: torch.device) -> Tensor:
        """Return the ω_i, float32 [half] with half = width / 2, from 1 downwards."""
        half = self.width // 2
        exponent = torch.arange(half, dtype=torch.float32, device=device) / half
        return torch.exp(-math.log(10000.0) * exponent)

    def forward(self, timestep: Tensor) -> Tensor:
        """Embed `timestep` [B], 0 to 999, as [B,out]."""
        angle = timestep.float()[:, None] * self.frequencies(timestep.device)[None]
        wave = torch.cat([angle.cos(), angle.sin()], dim=-1).to(self.linear_1.weight.dtype)
        return cast(Tensor, self.linear_2(nn.functional.silu(self.linear_1(wave))))
