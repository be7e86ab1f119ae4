"""The deploy denoiser: the reference's function, rewritten for inference.

Every BatchNorm is folded, the conditioning is constant, the guidance branches share their common prefix, and
the transformer units work on tokens [B,N,C] up to their convolutional half.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from moebius_edge.export.fold import affine_before, fold_batch_norm
from moebius_edge.export.forms import Forms
from moebius_edge.export.interactive_lambda import DeployInteractiveLambda, branch_contexts
from moebius_edge.export.local_lambda import deploy_local_lambda
from moebius_edge.export.upsample import deploy_upsample
from moebius_edge.model.blocks import MixFFN, ResidualBlock, SeparableConv, TransformerUnit
from moebius_edge.model.unet import Moebius


class DeploySeparableConv(nn.Module):
    """A separable convolution with both BatchNorms folded."""

    def __init__(self, source: SeparableConv) -> None:
        super().__init__()
        self.depthwise = fold_batch_norm(source.conv_dw, source.bn1)
        self.pointwise = fold_batch_norm(source.conv_pw, source.bn2)
        self.residual = source.residual

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.pointwise(self.depthwise(x).relu())
        return y + x if self.residual else y


class DeployResidualBlock(nn.Module):
    """A residual block with folded convolutions; the time term has batch 1."""

    def __init__(self, source: ResidualBlock) -> None:
        super().__init__()
        self.norm1, self.norm2 = source.norm1, source.norm2
        self.conv1, self.conv2 = DeploySeparableConv(source.conv1), DeploySeparableConv(source.conv2)
        self.time = source.time_emb_proj
        self.shortcut = source.conv_shortcut

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        y = self.conv1(F.silu(self.norm1(x))) + self.time(time)[:, :, None, None]
        y = self.conv2(F.silu(self.norm2(y)))
        return y + self.shortcut(x)


class DeployMixFFN(nn.Module):
    """Mix-FFN with each half of its hidden layer as a chain of its own, so that nothing is split.

    The unit's output projection follows without anything in between, so it is multiplied into the last one.
    """

    def __init__(self, source: MixFFN, scale: Tensor, shift: Tensor, project: nn.Conv2d) -> None:
        """`scale`, `shift` [C]: the affine map of the LayerNorm before; `project`: the unit's proj_out."""
        super().__init__()
        expand = affine_before(source.inverted_conv.conv, scale, shift)
        mix = source.depth_conv.conv
        self.expand = nn.ModuleList(_output_half(expand, i) for i in range(2))
        self.mix = nn.ModuleList(_output_half(mix, i) for i in range(2))
        self.reduce = nn.Conv2d(source.point_conv.conv.in_channels, project.out_channels, 1)
        assert self.reduce.bias is not None and project.bias is not None
        self.reduce.bias = nn.Parameter(project.bias.detach().clone(), requires_grad=False)
        weight = project.weight.double()[:, :, 0, 0] @ source.point_conv.conv.weight.double()[:, :, 0, 0]
        self.reduce.weight = nn.Parameter(weight[:, :, None, None].float(), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = (mix(F.silu(expand(x))) for expand, mix in zip(self.expand, self.mix, strict=True))
        y: Tensor = self.reduce(value * F.silu(gate))
        return y


def _output_half(conv: nn.Conv2d, index: int) -> nn.Conv2d:
    """The first or second half of the convolution's output channels (and input channels, if depthwise)."""
    half = conv.out_channels // 2
    part = nn.Conv2d(
        conv.in_channels if conv.groups == 1 else half,
        half,
        conv.kernel_size,
        padding=conv.padding,
        groups=1 if conv.groups == 1 else half,
    )
    rows = slice(index * half, (index + 1) * half)
    assert conv.bias is not None and part.bias is not None
    part.weight = nn.Parameter(conv.weight.detach()[rows].clone(), requires_grad=False)
    part.bias = nn.Parameter(conv.bias.detach()[rows].clone(), requires_grad=False)
    return part


class DeployTransformerUnit(nn.Module):
    """An LλMI unit on tokens; the affine maps of all its norms are folded into the projections after them."""

    def __init__(self, source: TransformerUnit, context: Tensor, size: int, forms: Forms) -> None:
        super().__init__()
        (block,) = source.transformer_blocks
        self.groups, self.group_eps = source.norm.num_groups, source.norm.eps
        self.norm_eps = block.norm1.eps
        project = affine_before(source.proj_in, source.norm.weight, source.norm.bias)
        assert project.bias is not None
        self.register_buffer("in_weight", project.weight[:, :, 0, 0].T.contiguous())
        self.register_buffer("in_bias", project.bias)
        self.local = deploy_local_lambda(block.attn1, size, block.norm1.weight, block.norm1.bias, forms)
        self.interactive = DeployInteractiveLambda(block.attn2, context, block.norm2.weight, block.norm2.bias)
        self.ffn = DeployMixFFN(block.ff, block.norm3.weight, block.norm3.bias, source.proj_out)
        self.register_buffer("out_weight", source.proj_out.weight.detach()[:, :, 0, 0].clone())

    def forward(self, x: Tensor) -> Tensor:
        """[1 or 2,C,h,w] -> [2,C,h,w]."""
        _, channels, height, width = x.shape
        tokens = F.group_norm(x, self.groups, eps=self.group_eps).flatten(2).transpose(1, 2)
        tokens = tokens @ self.in_weight + self.in_bias
        tokens = tokens + self.local(self._normalise(tokens))
        tokens = tokens + self.interactive(self._normalise(tokens))
        image = self._normalise(tokens).transpose(1, 2).reshape(2, channels, height, width)
        # proj_out(tokens + ffn) = W_out tokens + (W_out W_reduce (..) + bias): the second is in the FFN.
        straight = self.out_weight @ tokens.transpose(1, 2)
        return self.ffn(image) + straight.reshape(2, channels, height, width) + x

    def _normalise(self, tokens: Tensor) -> Tensor:
        return F.layer_norm(tokens, tokens.shape[-1:], eps=self.norm_eps)


class DeployDenoiser(nn.Module):
    """The denoiser graph: guided noise from latents, with the interface of `model.graphs.Denoiser`."""

    def __init__(self, model: Moebius, forms: Forms) -> None:
        super().__init__()
        unet, size = model.diff_model, model.config.latent_size
        context = branch_contexts(model.embedding_layer, unet.encoder_hid_proj, model.config.prompt_tokens)
        self.conv_in = DeploySeparableConv(unet.conv_in)
        self.time_embedding = unet.time_embedding
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for i, stage in enumerate(unet.down_blocks):
            self.down.append(_pairs(stage, context, size >> i, forms))
        for i, stage in enumerate(unet.up_blocks):
            self.up.append(_pairs(stage, context, size >> (len(unet.up_blocks) - 1 - i), forms))
        self.downsamplers = nn.ModuleList(stage.downsamplers[0].conv for stage in unet.down_blocks[:-1])
        self.upsamplers = nn.ModuleList(
            deploy_upsample(stage.upsamplers[0].conv, forms.upsample) for stage in unet.up_blocks[:-1]
        )
        self.norm_out, self.conv_out = unet.conv_norm_out, DeploySeparableConv(unet.conv_out)

    def forward(
        self, latents: Tensor, mask: Tensor, masked_latents: Tensor, timestep: Tensor, guidance: Tensor
    ) -> Tensor:
        """Shapes as in `model.graphs.Denoiser.forward`."""
        time = F.silu(self.time_embedding(timestep))
        # Batch 1 until the first Interactive-λ: the guidance branches are the same picture up to there.
        x = self.conv_in(torch.cat([latents, mask, masked_latents], dim=1))
        skips = [x.expand(2, -1, -1, -1)]
        for i, pairs in enumerate(self.down):
            for resnet, unit in pairs:
                x = unit(resnet(x, time))
                skips.append(x)
            if i < len(self.downsamplers):
                x = self.downsamplers[i](x)
                skips.append(x)
        for i, pairs in enumerate(self.up):
            for resnet, unit in pairs:
                x = unit(resnet(torch.cat([x, skips.pop()], dim=1), time))
            if i < len(self.upsamplers):
                x = self.upsamplers[i](x)
        unconditional, conditional = self.conv_out(F.silu(self.norm_out(x))).chunk(2)
        return unconditional + guidance.reshape(1, 1, 1, 1) * (conditional - unconditional)


def _pairs(stage: nn.Module, context: Tensor, size: int, forms: Forms) -> nn.ModuleList:
    return nn.ModuleList(
        nn.ModuleList([DeployResidualBlock(resnet), DeployTransformerUnit(unit, context, size, forms)])
        for resnet, unit in zip(stage.resnets, stage.attentions, strict=True)
    )
