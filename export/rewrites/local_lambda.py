"""Rewrite Local-λ exactly, in two forms, on token-major tensors [B,N,C] (N = h*w positions, row by row).

Both share the content lambda λc and differ in how the position lambdas act on the queries:

* `convolution`: λp by a 15x15 convolution of every value plane, then one small matmul per position.
* `window`: relative scores Q[n] W[:,δ] first, then their product with the values around n. Tiles of t query
  columns share a window of 15 x (t + 14) keys; one copy of W per query column, shifted by it, makes both
  steps plain matmuls. Multiplications per position: 2 C 15 (t + 14), against 225 (C/h)^2 + C^2/h.

The BatchNorms of q and v, and the LayerNorm's affine map, are folded into one projection. The convolution's
bias b_k adds b_k to every λ[k,v], so it moves into λc.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from moebius_edge.export.rewrites.fold import affine_before, fold_batch_norm
from moebius_edge.export.rewrites.forms import Forms
from moebius_edge.model.lambdas import LocalLambda


class DeployLocalLambda(nn.Module, ABC):
    """The output Y of Local-λ for normalised tokens; subclasses supply the position part."""

    def __init__(self, source: LocalLambda, size: int, scale: Tensor, shift: Tensor) -> None:
        """Fold the norms of `source` into its projections.

        `scale`, `shift` [C]: the affine map of the LayerNorm before; `size`: side of the latents.
        """
        super().__init__()
        self.heads, self.size = source.heads, size
        self.dim = source.pos_conv.out_channels
        query = affine_before(fold_batch_norm(source.to_q, source.norm_q), scale, shift)
        value = affine_before(fold_batch_norm(source.to_v, source.norm_v), scale, shift)
        key = affine_before(source.to_k, scale, shift)
        for name, conv in (("query", query), ("key", key), ("value", value)):
            self.register_buffer(f"{name}_weight", conv.weight[:, :, 0, 0].T.contiguous())
        # No bias for the key: it would be the same at every position, and softmax is invariant to that.
        assert query.bias is not None and value.bias is not None and source.pos_conv.bias is not None
        self.register_buffer("query_bias", query.bias)
        self.register_buffer("value_bias", value.bias)
        self.register_buffer("position_bias", source.pos_conv.bias.detach()[:, None].clone())

    def forward(self, tokens: Tensor) -> Tensor:
        """Map `tokens` [B,N,C], normalised without affine map, to [B,N,C]."""
        batch, positions, channels = tokens.shape
        key = (tokens @ self.key_weight).transpose(1, 2).softmax(dim=-1)
        value = tokens @ self.value_weight + self.value_bias
        query = tokens @ self.query_weight + self.query_bias
        content = key @ value + self.position_bias
        out = query.reshape(batch, positions * self.heads, self.dim) @ content
        out = out.reshape(batch, positions, channels)
        return out + self.position(query, value)

    @abstractmethod
    def position(self, query: Tensor, value: Tensor) -> Tensor:
        """Return Σ_k Q[n,h,k] λp[k,v,n] as [B,N,C], from `query` [B,N,C] and `value` [B,N,v]."""


class ConvolutionLocalLambda(DeployLocalLambda):
    """Local-λ with position lambdas by a 2-D convolution, the value planes folded into the batch."""

    def __init__(self, source: LocalLambda, size: int, scale: Tensor, shift: Tensor) -> None:
        super().__init__(source, size, scale, shift)
        self.register_buffer("kernel", source.pos_conv.weight.detach().squeeze(2).clone())

    def position(self, query: Tensor, value: Tensor) -> Tensor:
        """Compute it by the convolution; shapes as in `DeployLocalLambda.position`."""
        batch, positions, channels = query.shape
        planes = value.transpose(1, 2).reshape(batch * self.dim, 1, self.size, self.size)
        lambdas = F.conv2d(planes, self.kernel, padding=self.kernel.shape[-1] // 2)
        lambdas = lambdas.reshape(batch, self.dim * self.dim, positions).transpose(1, 2)
        lambdas = lambdas.reshape(batch, positions, self.dim, self.dim)
        scores = query.reshape(batch, positions, self.heads, self.dim)
        return (scores @ lambdas.transpose(2, 3)).reshape(batch, positions, channels)


class WindowLocalLambda(DeployLocalLambda):
    """Local-λ with relative scores over windows of key rows and columns.

    It has no convolution and no index per pair. Raises ValueError when the tile does not divide the latent
    side.
    """

    def __init__(self, source: LocalLambda, size: int, scale: Tensor, shift: Tensor, tile: int) -> None:
        super().__init__(source, size, scale, shift)
        if size % tile:
            raise ValueError(f"tile {tile} must divide the latent side {size}")
        kernel = source.pos_conv.weight.detach().squeeze(2).squeeze(1)
        self.window = kernel.shape[-1]
        self.tile, self.tiles, self.columns = tile, size // tile, tile + self.window - 1
        # The kernel as seen from query column x of a tile: x key columns further right, zero elsewhere.
        scores = torch.zeros(tile, self.dim, self.window, self.columns)
        for x in range(tile):
            scores[x, :, :, x : x + self.window] = kernel
        self.padding = self.window // 2
        if tile == size:  # a tile sees whole rows: the key columns outside the picture are left out
            scores = scores[..., self.padding : self.padding + size]
            self.columns, self.padding = size, 0
        self.register_buffer("score_weight", scores.flatten(2).contiguous())
        # Two gathers of long rows: the columns of each tile, then for each tile of queries its rows.
        tiles = torch.arange(self.tiles)
        self.register_buffer("columns_of", (tiles[:, None] * tile + torch.arange(self.columns)).flatten())
        rows = torch.arange(size)[:, None, None] + torch.arange(self.window)
        self.register_buffer("rows_of", (rows * self.tiles + tiles[None, :, None]).flatten())

    def position(self, query: Tensor, value: Tensor) -> Tensor:
        """Compute it over the windows; shapes as in `DeployLocalLambda.position`."""
        batch, positions, channels = query.shape
        windows = batch * self.size * self.tiles
        # [query column of the tile, head, window, k]: each column has its own shift of the kernel.
        shape = (windows, self.tile, self.heads, self.dim)
        columns = query.reshape(shape).permute(1, 2, 0, 3).reshape(self.tile, -1, self.dim)
        scores = (columns @ self.score_weight).reshape(self.tile * self.heads, windows, -1)
        # Engines fuse this transpose into the matmul, so the scores are written and read once.
        out = scores.transpose(0, 1) @ self.windows(value)
        return out.reshape(batch, positions, channels)

    def windows(self, value: Tensor) -> Tensor:
        """Gather the keys that each tile of queries sees: `value` [B,N,v] becomes [B*rows*tiles, keys, v]."""
        batch, above = value.shape[0], self.window // 2
        image = value.reshape(batch, self.size, self.size, self.dim)
        image = F.pad(image, (0, 0, self.padding, self.padding, above, above))
        columns = image.index_select(2, self.columns_of).reshape(batch, -1, self.columns * self.dim)
        rows = columns.index_select(1, self.rows_of)
        return rows.reshape(batch * self.size * self.tiles, -1, self.dim)


def deploy_local_lambda(
    source: LocalLambda, size: int, scale: Tensor, shift: Tensor, forms: Forms
) -> DeployLocalLambda:
    """Build Local-λ in the form that `forms` asks for at this size.

    `scale`, `shift` [C]: the affine map of the LayerNorm before; `size`: side of the latents.
    """
    if forms.local_lambda(size) == "window":
        return WindowLocalLambda(source, size, scale, shift, forms.tile(size))
    return ConvolutionLocalLambda(source, size, scale, shift)
