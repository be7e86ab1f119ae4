"""Build the blocks of the deploy denoiser with channels last: tokens [B,N,C], fastest in INT8.

N = h*w positions, row by row. A 1x1 convolution is one matrix product, and an INT8 depthwise convolution
needs no transpose. Measured on one core (ns per element, ONNX Runtime 1.32, x86-64): a depthwise 3x3
convolution 0.4 in INT8 with channels last, 1.7 in FP32 with channels first; a transpose of floats 1.4.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from moebius_edge.export.rewrites.fold import affine_before, fold_batch_norm
from moebius_edge.export.rewrites.forms import Forms
from moebius_edge.export.rewrites.interactive_lambda import DeployInteractiveLambda
from moebius_edge.export.rewrites.local_lambda import deploy_local_lambda
from moebius_edge.export.rewrites.mix_ffn import DeployMixFFN
from moebius_edge.export.rewrites.upsample import AFTER, BEFORE, SAME, interleave
from moebius_edge.model.blocks import MixFFN, ResidualBlock, SeparableConv, TransformerUnit


class Linear(nn.Module):
    """A 1x1 convolution on tokens: [B,N,in] -> [B,N,out]."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.register_buffer("weight", conv.weight.detach()[:, :, 0, 0].T.contiguous())
        bias = conv.bias if conv.bias is not None else torch.zeros(conv.out_channels)
        self.register_buffer("bias", bias.detach().clone())

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens [B,N,in] to [B,N,out]."""
        return tokens @ self.weight + self.bias


class SpatialConv(nn.Module):
    """A convolution with a larger kernel on tokens.

    It transposes to pictures and back; engines move these transposes elsewhere, or need none.
    """

    def __init__(self, conv: nn.Conv2d, size: int, *, relu: bool = False) -> None:
        """Take the weights of `conv` for pictures of `size` x `size`.

        `relu`: a ReLU follows; it is computed here, directly behind the convolution, so that engines see the
        pair.
        """
        super().__init__()
        assert conv.bias is not None
        self.register_buffer("weight", conv.weight.detach().clone())
        self.register_buffer("bias", conv.bias.detach().clone())
        self.size, self.relu = size, relu
        self.stride, self.padding, self.groups = conv.stride, conv.padding, conv.groups

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens [B,size*size,C] to [B,N',C']; N' is smaller where the convolution has a stride."""
        batch, _, channels = tokens.shape
        image = tokens.reshape(batch, self.size, self.size, channels).permute(0, 3, 1, 2)
        image = F.conv2d(image, self.weight, self.bias, self.stride, self.padding, groups=self.groups)
        if self.relu:
            image = image.relu()
        out = image.permute(0, 2, 3, 1)
        return out.reshape(batch, -1, out.shape[-1])


class GroupNorm(nn.Module):
    """GroupNorm of tokens plus a shift t per channel: norm(x + t), without a pass that adds t.

    Group sums are combined from the sums over the positions: mean and E[x²] - mean² per group.
    """

    def __init__(self, source: nn.GroupNorm, *, affine: bool = True) -> None:
        """Take the parameters of `source`; without `affine` the weight and bias are left to what follows."""
        super().__init__()
        self.groups, self.eps, self.affine = source.num_groups, source.eps, affine
        if affine:
            self.register_buffer("weight", source.weight.detach().clone())
            self.register_buffer("bias", source.bias.detach().clone())

    def forward(self, tokens: Tensor, shift: Tensor | None = None) -> Tensor:
        """Normalize `tokens` [B,N,C] plus `shift` [1,C]; returns [B,N,C]."""
        batch, _, channels = tokens.shape
        mean, square = tokens.mean(1), (tokens * tokens).mean(1)
        if shift is not None:
            mean, square = mean + shift, square + shift * (2 * mean + shift)
        centre = self._of_group(mean)
        scale = torch.rsqrt(self._of_group(square) - centre * centre + self.eps)
        scale, centre = (
            x.expand(batch, self.groups, channels // self.groups).reshape(batch, channels)
            for x in (scale, centre)
        )
        if shift is not None:
            centre = centre - shift
        if self.affine:
            scale = scale * self.weight
            return tokens * scale[:, None] + (self.bias - centre * scale)[:, None]
        return tokens * scale[:, None] - (centre * scale)[:, None]

    def _of_group(self, values: Tensor) -> Tensor:
        return values.reshape(values.shape[0], self.groups, -1).mean(2, keepdim=True)


class TokenSeparableConv(nn.Module):
    """A separable convolution on tokens with both BatchNorms folded."""

    def __init__(self, source: SeparableConv, size: int) -> None:
        super().__init__()
        self.depthwise = SpatialConv(fold_batch_norm(source.conv_dw, source.bn1), size, relu=True)
        self.pointwise = Linear(fold_batch_norm(source.conv_pw, source.bn2))
        self.residual = source.residual

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens [B,N,C] to [B,N,C']."""
        y: Tensor = self.pointwise(self.depthwise(x))
        return y + x if self.residual else y


class TokenResidualBlock(nn.Module):
    """A residual block on tokens."""

    def __init__(self, source: ResidualBlock, size: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = GroupNorm(source.norm1), GroupNorm(source.norm2)
        self.conv1, self.conv2 = (TokenSeparableConv(c, size) for c in (source.conv1, source.conv2))
        self.time = source.time_emb_proj
        plain = isinstance(source.conv_shortcut, nn.Identity)
        self.shortcut = nn.Identity() if plain else Linear(source.conv_shortcut)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Map tokens `x` [B,N,C] and `time` [1,T], after SiLU, to [B,N,C']."""
        y = self.conv1(F.silu(self.norm1(x)))
        y = self.conv2(F.silu(self.norm2(y, self.time(time))))
        return y + self.shortcut(x)


class TokenMixFFN(nn.Module):
    """`mix_ffn.DeployMixFFN` on tokens."""

    def __init__(self, source: MixFFN, affine: tuple[Tensor, Tensor], project: nn.Conv2d, size: int) -> None:
        """Take the weights of `source` for pictures of `size` x `size`.

        `affine`: scale and shift [C] of the LayerNorm before; `project`: the unit's proj_out.
        """
        super().__init__()
        # The same weights as with channels first, laid out for tokens.
        halves = DeployMixFFN(source, *affine, project)
        self.expand = nn.ModuleList(Linear(conv) for conv in halves.expand)
        self.mix = nn.ModuleList(SpatialConv(conv, size) for conv in halves.mix)
        self.reduce = Linear(halves.reduce)

    def forward(self, x: Tensor) -> Tensor:
        """Map normalised tokens [B,N,C] to [B,N,C'], projected by `project`."""
        value, gate = (mix(F.silu(expand(x))) for expand, mix in zip(self.expand, self.mix, strict=True))
        y: Tensor = self.reduce(value * F.silu(gate))
        return y


class TokenTransformerUnit(nn.Module):
    """An LλMI unit on tokens."""

    def __init__(self, source: TransformerUnit, context: Tensor, size: int, forms: Forms) -> None:
        super().__init__()
        (block,) = source.transformer_blocks
        self.norm = GroupNorm(source.norm, affine=False)
        self.norm_eps = block.norm1.eps
        self.project_in = Linear(affine_before(source.proj_in, source.norm.weight, source.norm.bias))
        self.local = deploy_local_lambda(block.attn1, size, block.norm1.weight, block.norm1.bias, forms)
        self.interactive = DeployInteractiveLambda(block.attn2, context, block.norm2.weight, block.norm2.bias)
        affine = block.norm3.weight, block.norm3.bias
        self.ffn = TokenMixFFN(block.ff, affine, source.proj_out, size)
        straight = nn.Conv2d(source.proj_out.in_channels, source.proj_out.out_channels, 1, bias=False)
        straight.weight = source.proj_out.weight
        self.project_out = Linear(straight)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens [1 or 2,N,C] to [2,N,C]."""
        tokens = self.project_in(self.norm(x))
        tokens = tokens + self.local(self._normalise(tokens))
        tokens = tokens + self.interactive(self._normalise(tokens))
        # proj_out(tokens + ffn) = W_out tokens + (W_out W_reduce (..) + bias): the second is in the FFN.
        return self.ffn(self._normalise(tokens)) + self.project_out(tokens) + x

    def _normalise(self, tokens: Tensor) -> Tensor:
        return F.layer_norm(tokens, tokens.shape[-1:], eps=self.norm_eps)


class TokenUpsample(nn.Module):
    """`upsample.DifferenceUpsample` on tokens."""

    def __init__(self, conv: nn.Conv2d, size: int) -> None:
        """Take the weights of the 3x3 convolution `conv`; `size` is the side of the input."""
        super().__init__()
        assert conv.bias is not None
        self.size = size
        taps = torch.tensor([SAME, BEFORE, AFTER], dtype=torch.float64)
        kernels = torch.einsum("oiyx,ay,bx->abio", conv.weight.double(), taps, taps).float()
        self.register_buffer("bias", conv.bias.detach().clone())
        # The products that share an input are one matrix: [in, products * out].
        for name, part in (
            ("same", kernels[0, :1]),
            ("x", kernels[0, 1:]),
            ("y", kernels[1:, 0]),
            ("yx", kernels[1:, 1:].flatten(0, 1)),
        ):
            self.register_buffer(f"{name}_weight", part.permute(1, 0, 2).flatten(1).contiguous())

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens [B,n*n,C] to [B,4*n*n,C']."""
        batch, _, channels = tokens.shape
        image = tokens.reshape(batch, self.size, self.size, channels)
        padded = F.pad(image, (0, 0, 1, 1, 1, 1))
        along_y = padded[:, 1:] - padded[:, :-1]
        d_yx = along_y[:, :, 1:] - along_y[:, :, :-1]
        d_x = padded[:, 1:-1, 1:] - padded[:, 1:-1, :-1]

        same = image @ self.same_weight + self.bias
        x_before, x_after = (d_x @ self.x_weight).chunk(2, dim=-1)
        y_before, y_after = (along_y[:, :, 1:-1] @ self.y_weight).chunk(2, dim=-1)
        corners = (d_yx @ self.yx_weight).chunk(4, dim=-1)
        before, after = slice(None, -1), slice(1, None)
        rows = []
        for row, y_part, first, second in ((before, y_before, *corners[:2]), (after, y_after, *corners[2:])):
            centre = same + y_part[:, row]
            even = centre + x_before[:, :, before] + first[:, row, before]
            odd = centre + x_after[:, :, after] + second[:, row, after]
            rows.append(interleave(even, odd, dim=2))
        return interleave(rows[0], rows[1], dim=1).reshape(batch, -1, rows[0].shape[-1])
