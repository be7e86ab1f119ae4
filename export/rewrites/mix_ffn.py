"""Rewrite Mix-FFN for deployment: two chains instead of a split, and one projection less."""

from torch import Tensor, nn
from torch.nn import functional as F

from moebius_edge.export.rewrites.fold import affine_before
from moebius_edge.model.blocks import MixFFN


class DeployMixFFN(nn.Module):
    """Mix-FFN with each half of its hidden layer as a chain of its own, so that nothing is split.

    The unit's output projection follows directly, so it is multiplied into the last convolution.
    """

    def __init__(self, source: MixFFN, scale: Tensor, shift: Tensor, project: nn.Conv2d) -> None:
        """Take the weights of `source`, with what stands before and after it multiplied in.

        `scale`, `shift` [C]: the affine map of the LayerNorm before; `project`: the unit's proj_out.
        """
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
        """Map normalised pictures [B,C,h,w] to [B,C',h,w], projected by `project`."""
        value, gate = (mix(F.silu(expand(x))) for expand, mix in zip(self.expand, self.mix, strict=True))
        y: Tensor = self.reduce(value * F.silu(gate))
        return y


def _output_half(conv: nn.Conv2d, index: int) -> nn.Conv2d:
    """Return half `index` (0, 1) of a convolution's output channels, and of its inputs if depthwise."""
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
