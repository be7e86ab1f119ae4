"""The two λ layers of the LλMI block (Moebius, arXiv 2606.19195; λ layers: Bello 2021, arXiv 2102.08602).

A λ layer summarises its context as a small matrix λ (k x v) that is applied to every query, instead of
comparing all pairs. Letters as in the paper: n queries, m context positions, k = dim_k, v = dim_v, h heads.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class PositionConv(nn.Conv3d):
    """The position lambda λp[k,v,n]: one 15x15 convolution per value plane V[v], from 1 to k channels."""

    def __init__(self, dim_k: int, window: int) -> None:
        super().__init__(1, dim_k, (1, window, window), padding=(0, window // 2, window // 2))

    def forward(self, values: Tensor) -> Tensor:
        """Map `values` [B,1,v,h,w] to λp [B,k,v,h,w].

        While training, by `_by_rows`: the same sum, faster on a CPU.
        """
        if not self.training:
            return super().forward(values)
        return self._by_rows(values)

    def _by_rows(self, values: Tensor) -> Tensor:
        """Compute the same sum as one matmul of 15 rows with a banded matrix.

        The kernel's column is key x - query x. This takes twice the multiplications of the convolution, half
        of them with zeros, and a tenth of its time on a CPU: with one input channel the convolution's
        backward pass runs far below the speed of a matmul.
        """
        batch, _, planes, h, w = values.shape
        dim, window = self.weight.shape[0], self.weight.shape[-1]
        reach = window // 2
        # band[k, dy, key x, query x] = weight[k, dy, key x - query x + reach], zero outside the window.
        kernel = self.weight[:, 0, 0].flip(-1)
        band = F.pad(kernel, (w - 1 - reach, w - 1 - reach)).unfold(-1, w, 1).flip(-2)
        band = band.permute(1, 2, 3, 0).reshape(window * w, w * dim)
        rows = F.pad(values.reshape(batch * planes, h, w), (0, 0, reach, reach)).unfold(1, window, 1)
        rows = rows.transpose(2, 3).reshape(batch * planes * h, window * w)
        lambdas = (rows @ band).reshape(batch, planes, h, w, dim) + self.bias
        return lambdas.permute(0, 4, 1, 2, 3)


class LocalLambda(nn.Module):
    """Self-context over all positions, with relative positions in a local window.

    λc[k,v] = Σ_m softmax_m(K)[k,m] V[v,m];  λp[k,v,n] = (V[v] * W[k])[n];
    Y[h,v,n] = Σ_k Q[h,k,n] (λc[k,v] + λp[k,v,n]).
    """

    def __init__(self, channels: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        dim = channels // heads
        self.to_q = nn.Conv2d(channels, channels, 1, bias=False)
        self.to_k = nn.Conv2d(channels, dim, 1, bias=False)
        self.to_v = nn.Conv2d(channels, dim, 1, bias=False)
        self.norm_q = nn.BatchNorm2d(channels)
        self.norm_v = nn.BatchNorm2d(dim)
        self.pos_conv = PositionConv(dim, window)

    def forward(self, x: Tensor) -> Tensor:
        """Map `x` [B,C,h,w] to Y of the same shape."""
        batch, channels, height, width = x.shape
        query = self.norm_q(self.to_q(x)).reshape(batch, self.heads, -1, height * width)
        key = self.to_k(x).flatten(2).softmax(dim=-1)
        value = self.norm_v(self.to_v(x))
        content = torch.einsum("bkm,bvm->bkv", key, value.flatten(2))
        position = self.pos_conv(value.unsqueeze(1)).flatten(3)
        out = torch.einsum("bhkn,bkv->bhvn", query, content)
        out = out + torch.einsum("bhkn,bkvn->bhvn", query, position)
        return out.reshape(batch, channels, height, width)


class InteractiveLambda(nn.Module):
    """Context from the latent-category tokens, with a learned table of positions.

    λc[k,v] = Σ_m softmax_m(K)[m,k] V[m,v] over the tokens;  λp[n,k,v] = Σ_m E_pos[n,m,k] V[m,v];
    Y[h,v,n] = Σ_k Q[h,k,n] (λc[k,v] + λp[n,k,v]).
    """

    def __init__(self, channels: int, heads: int, context_dim: int, positions: int, tokens: int) -> None:
        super().__init__()
        self.heads = heads
        dim = channels // heads
        self.to_q = nn.Conv2d(channels, channels, 1, bias=False)
        self.to_k = nn.Linear(context_dim, dim, bias=False)
        self.to_v = nn.Linear(context_dim, dim, bias=False)
        self.norm_q = nn.BatchNorm2d(channels)
        self.norm_v = nn.BatchNorm1d(dim)
        self.rel_pos_emb = nn.Parameter(torch.randn(positions, tokens, dim, 1))

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Map `x` [B,C,h,w] to Y of the same shape. `context` [B,m,D]: the tokens."""
        batch, channels, height, width = x.shape
        query = self.norm_q(self.to_q(x)).reshape(batch, self.heads, -1, height * width)
        key = self.to_k(context).softmax(dim=1)
        value = self.norm_v(self.to_v(context).transpose(1, 2)).transpose(1, 2)
        content = torch.einsum("bmk,bmv->bkv", key, value)
        position = torch.einsum("nmku,bmv->bnkv", self.rel_pos_emb, value)
        out = torch.einsum("bhkn,bkv->bhvn", query, content)
        out = out + torch.einsum("bhkn,bnkv->bhvn", query, position)
        return out.reshape(batch, channels, height, width)
