"""Compute "nearest x2, then a 3x3 convolution" exactly, in forms with fewer multiplications.

In one dimension the even and odd outputs are e = w0 x[-1] + (w1 + w2) x[0] and o = (w0 + w1) x[0] + w2 x[1].

*Phase*: as written, 2 taps each: 16 in two dimensions instead of 36.

*Difference*: with s = w0 + w1 + w2 and d = x[1] - x[0], e = s x[0] - w0 d[-1] and o = s x[0] + w2 d[0]: three
products instead of four, so 9 in two dimensions, and as many weights as the 3x3 kernel itself.

*Transposed*: the phases as one transposed convolution with a 4x4 kernel: nothing is interleaved.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from moebius_edge.export.rewrites.forms import UpsampleForm

# Rows: the product a 3-tap kernel contributes to; x[0] -> s, d[-1] -> -w0, d[0] -> w2.
SAME, BEFORE, AFTER = (1.0, 1.0, 1.0), (-1.0, 0.0, 0.0), (0.0, 0.0, 1.0)


def interleave(even: Tensor, odd: Tensor, dim: int) -> Tensor:
    """Interleave two tensors [.., n, ..] along `dim` to one [.., 2n, ..], even first."""
    shape = list(even.shape)
    inner = shape[dim + 1 :]
    # Four dimensions are enough, and more is more than some engines take.
    flat = (shape[0], -1, shape[dim], math.prod(inner))
    pair = torch.cat([even.reshape(flat), odd.reshape(flat)], dim=3)
    return pair.reshape(*shape[:dim], 2 * shape[dim], *inner)


class PhaseUpsample(nn.Module):
    """Nearest x2 and the 3x3 convolution as four 2x2 convolutions on the small grid, interleaved."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        assert conv.bias is not None
        taps = torch.tensor([[[1.0, 0, 0], [0, 1, 1]], [[1, 1, 0], [0, 0, 1]]], dtype=torch.float64)
        weight = conv.weight.double()
        for y in range(2):
            for x in range(2):
                phase = torch.einsum("oiyx,ay,bx->oiab", weight, taps[y], taps[x]).float()
                self.register_buffer(f"weight_{y}{x}", phase.contiguous())
        self.register_buffer("bias", conv.bias.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """Map [B,C,h,w] to [B,C',2h,2w]."""
        rows = []
        for y in range(2):
            # Even outputs look one pixel back, odd ones one pixel ahead.
            phases = [
                F.conv2d(F.pad(x, (1 - c, c, 1 - y, y)), getattr(self, f"weight_{y}{c}"), self.bias)
                for c in range(2)
            ]
            rows.append(interleave(phases[0], phases[1], dim=3))
        return interleave(rows[0], rows[1], dim=2)


class DifferenceUpsample(nn.Module):
    """Nearest x2 and the 3x3 convolution as nine 1x1 products, added up and interleaved.

    The products are of the picture and its first differences.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        assert conv.bias is not None
        taps = torch.tensor([SAME, BEFORE, AFTER], dtype=torch.float64)
        kernels = torch.einsum("oiyx,ay,bx->aboi", conv.weight.double(), taps, taps).float()
        # The products that share an input are one convolution.
        self.register_buffer("same_weight", kernels[0, 0][:, :, None, None].contiguous())
        self.register_buffer("x_weight", kernels[0, 1:].flatten(0, 1)[:, :, None, None].contiguous())
        self.register_buffer("y_weight", kernels[1:, 0].flatten(0, 1)[:, :, None, None].contiguous())
        self.register_buffer("yx_weight", kernels[1:, 1:].flatten(0, 2)[:, :, None, None].contiguous())
        self.register_buffer("bias", conv.bias.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """Map [B,C,h,w] to [B,C',2h,2w]."""
        # Differences over the zero-padded picture: index 0 is d[-1], so n + 1 of them along a side.
        padded = F.pad(x, (1, 1, 1, 1))
        along_y = padded[:, :, 1:] - padded[:, :, :-1]
        d_y = along_y[:, :, :, 1:-1]
        d_yx = along_y[:, :, :, 1:] - along_y[:, :, :, :-1]
        d_x = padded[:, :, 1:-1, 1:] - padded[:, :, 1:-1, :-1]

        same = F.conv2d(x, self.same_weight, self.bias)
        x_before, x_after = F.conv2d(d_x, self.x_weight).chunk(2, dim=1)
        y_before, y_after = F.conv2d(d_y, self.y_weight).chunk(2, dim=1)
        corners = F.conv2d(d_yx, self.yx_weight).chunk(4, dim=1)
        columns = (slice(None, -1), slice(1, None))
        rows = []
        for row, y_part, first, second in (
            (slice(None, -1), y_before, corners[0], corners[1]),
            (slice(1, None), y_after, corners[2], corners[3]),
        ):
            centre = same + y_part[:, :, row]
            even = centre + x_before[..., columns[0]] + first[:, :, row, columns[0]]
            odd = centre + x_after[..., columns[1]] + second[:, :, row, columns[1]]
            rows.append(interleave(even, odd, dim=3))
        return interleave(rows[0], rows[1], dim=2)


class TransposedUpsample(nn.Module):
    """Nearest x2 and the 3x3 convolution as one transposed convolution.

    It has 16 taps per input pixel and as many weights as the phases.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        assert conv.bias is not None
        # In one dimension input i reaches the outputs 2i - 1 to 2i + 2, by these taps of the kernel.
        taps = torch.tensor([[0.0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]], dtype=torch.float64)
        kernel = torch.einsum("oiyx,ay,bx->ioab", conv.weight.double(), taps, taps).float()
        self.register_buffer("weight", kernel.contiguous())
        self.register_buffer("bias", conv.bias.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """Map [B,C,h,w] to [B,C',2h,2w]."""
        return F.conv_transpose2d(x, self.weight, self.bias, stride=2, padding=1)


class NearestUpsample(nn.Module):
    """Nearest x2 and the 3x3 convolution as the reference has them.

    It has the fewest weights, and suits engines with a fast 3x3 convolution.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, x: Tensor) -> Tensor:
        """Map [B,C,h,w] to [B,C',2h,2w]."""
        y: Tensor = self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return y


UPSAMPLERS: dict[UpsampleForm, type[nn.Module]] = {
    "nearest": NearestUpsample,
    "phase": PhaseUpsample,
    "difference": DifferenceUpsample,
    "transposed": TransposedUpsample,
}


def deploy_upsample(conv: nn.Conv2d, form: UpsampleForm) -> nn.Module:
    """Build nearest x2 followed by the 3x3 convolution `conv`, in the given form."""
    return UPSAMPLERS[form](conv)
