"""Build the blocks of the deploy denoiser with channels first: pictures [B,C,h,w], fastest in FP32.

Every BatchNorm is folded, and the transformer units work on tokens [B,N,C] up to their convolutional half.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from moebius_edge.export.rewrites.fold import affine_before, fold_batch_norm
from moebius_edge.export.rewrites.forms import Forms
from moebius_edge.export.rewrites.interactive_lambda import DeployInteractiveLambda
from moebius_edge.export.rewrites.local_lambda import deploy_local_lambda
from moebius_edge.export.rewrites.mix_ffn import DeployMixFFN
from moebius_edge.model.blocks import ResidualBlock, SeparableConv, TransformerUnit


class PictureSeparableConv(nn.Module):
    """A separable convolution with both BatchNorms folded."""

    def __init__(self, source: SeparableConv, size: int) -> None:
        super().__init__()
        self.depthwise = fold_batch_norm(source.conv_dw, source.bn1)
        self.pointwise = fold_batch_norm(source.conv_pw, source.bn2)
        self.residual = source.residual

    def forward(self, x: Tensor) -> Tensor:
        """Map [B,C,h,w] to [B,C',h,w]."""
        y: Tensor = self.pointwise(self.depthwise(x).relu())
        return y + x if self.residual else y


class PictureResidualBlock(nn.Module):
    """A residual block on pictures with folded convolutions; the time term has batch 1."""

    def __init__(self, source: ResidualBlock, size: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = source.norm1, source.norm2
        self.conv1, self.conv2 = (PictureSeparableConv(conv, size) for conv in (source.conv1, source.conv2))
        self.time = source.time_emb_proj
        self.shortcut = source.conv_shortcut

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Map `x` [B,C,h,w] and `time` [1,T], after SiLU, to [B,C',h,w]."""
        y = self.conv1(F.silu(self.norm1(x))) + self.time(time)[:, :, None, None]
        y = self.conv2(F.silu(self.norm2(y)))
        return y + self.shortcut(x)


class PictureTransformerUnit(nn.Module):
    """An LλMI unit on tokens; the affine maps of all its norms are folded into the projections after them."""

    def __init__(self, source: TransformerUnit, context: Tensor, size: int, forms: Forms) -> None:
        super().__init__()
        (block,) = source.transformer_blocks
        self.groups, self.group_eps = source.norm.num_groups, source.norm.eps
        self.norm_eps = block.norm1.eps
        project = affine_before(source.proj_in, source.norm.weight, source.norm.bias)
        assert project.bias is not None
        self.register_buffer("project_in_weight", project.weight[:, :, 0, 0].T.contiguous())
        self.register_buffer("project_in_bias", project.bias)
        self.local = deploy_local_lambda(block.attn1, size, block.norm1.weight, block.norm1.bias, forms)
        self.interactive = DeployInteractiveLambda(block.attn2, context, block.norm2.weight, block.norm2.bias)
        self.ffn = DeployMixFFN(block.ff, block.norm3.weight, block.norm3.bias, source.proj_out)
        self.register_buffer("project_out_weight", source.proj_out.weight.detach()[:, :, 0, 0].clone())

    def forward(self, x: Tensor) -> Tensor:
        """Map [1 or 2,C,h,w] to [2,C,h,w]."""
        _, channels, height, width = x.shape
        tokens = F.group_norm(x, self.groups, eps=self.group_eps).flatten(2).transpose(1, 2)
        tokens = tokens @ self.project_in_weight + self.project_in_bias
        tokens = tokens + self.local(self._normalise(tokens))
        tokens = tokens + self.interactive(self._normalise(tokens))
        image = self._normalise(tokens).transpose(1, 2).reshape(2, channels, height, width)
        # proj_out(tokens + ffn) = W_out tokens + (W_out W_reduce (..) + bias): the second is in the FFN.
        straight = self.project_out_weight @ tokens.transpose(1, 2)
        return self.ffn(image) + straight.reshape(2, channels, height, width) + x

    def _normalise(self, tokens: Tensor) -> Tensor:
        return F.layer_norm(tokens, tokens.shape[-1:], eps=self.norm_eps)
