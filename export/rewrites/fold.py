"""Fold affine maps into the 1x1 and depthwise convolutions beside them.

All folds are exact in real arithmetic; in FP32 they differ by rounding. Sums are done in FP64.
"""

import torch
from torch import Tensor, nn


def batch_norm_affine(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return scale and shift, both [C] in FP64, of BN(x) = scale * x + shift, from the running statistics."""
    assert norm.running_mean is not None and norm.running_var is not None
    scale = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
    return scale, norm.bias.double() - scale * norm.running_mean.double()


def _with_weights(conv: nn.Conv2d, weight: Tensor, bias: Tensor) -> nn.Conv2d:
    folded = nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size,
        stride=conv.stride,
        padding=conv.padding,
        groups=conv.groups,
        device="meta",
    )
    folded.weight = nn.Parameter(weight.float().contiguous(), requires_grad=False)
    folded.bias = nn.Parameter(bias.float().contiguous(), requires_grad=False)
    return folded


def _bias(conv: nn.Conv2d) -> Tensor:
    if conv.bias is None:
        return torch.zeros(conv.out_channels, dtype=torch.float64)
    return conv.bias.double()


def affine_after(conv: nn.Conv2d, scale: Tensor, shift: Tensor) -> nn.Conv2d:
    """Return the convolution x -> scale * conv(x) + shift; `scale`, `shift` [out]."""
    weight = conv.weight.double() * scale[:, None, None, None]
    return _with_weights(conv, weight, _bias(conv) * scale + shift)


def affine_before(conv: nn.Conv2d, scale: Tensor, shift: Tensor) -> nn.Conv2d:
    """Return the 1x1 convolution x -> conv(scale * x + shift); `scale`, `shift` [in].

    Raises ValueError for another kernel: its zero padding would not be shifted.
    """
    if tuple(conv.kernel_size) != (1, 1) or conv.groups != 1:
        raise ValueError(f"an affine map folds forward only into a dense 1x1 convolution, not into {conv}")
    weight = conv.weight.double()
    bias = _bias(conv) + weight[:, :, 0, 0] @ shift.double()
    return _with_weights(conv, weight * scale.double()[None, :, None, None], bias)


def fold_batch_norm(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    """Return the convolution x -> norm(conv(x))."""
    return affine_after(conv, *batch_norm_affine(norm))
