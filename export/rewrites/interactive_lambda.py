"""Rewrite Interactive-λ exactly: the ten category tokens are constants of each guidance branch.

With K, V [m,·] constant per branch, λc = K^T V and λp[n] = E[n]^T V have the same right factor, so Y[n,h] =
(Q[n,h] (E[n] + K)^T) V: ten scores per query instead of a k x v matrix per position. The embedding, its
projection, to_k, to_v and norm_v leave the graph.
"""

import torch
from torch import Tensor, nn

from moebius_edge.export.rewrites.fold import affine_before, batch_norm_affine, fold_batch_norm
from moebius_edge.model.lambdas import InteractiveLambda


class DeployInteractiveLambda(nn.Module):
    """The output Y of Interactive-λ on token-major tensors, for the two guidance branches at once."""

    def __init__(self, source: InteractiveLambda, context: Tensor, scale: Tensor, shift: Tensor) -> None:
        """Compute the constants of both branches.

        `context` [2,m,D]: the projected categories, unconditional first; `scale`, `shift` [C]: the affine map
        of the LayerNorm before.
        """
        super().__init__()
        self.heads = source.heads
        query = affine_before(fold_batch_norm(source.to_q, source.norm_q), scale, shift)
        assert query.bias is not None
        self.register_buffer("query_weight", query.weight[:, :, 0, 0].T.contiguous())
        self.register_buffer("query_bias", query.bias)
        key = (context.double() @ source.to_k.weight.double().T).softmax(dim=1)
        v_scale, v_shift = batch_norm_affine(source.norm_v)
        value = (context.double() @ source.to_v.weight.double().T) * v_scale + v_shift
        self.register_buffer("key", key.transpose(1, 2).float().contiguous())
        self.register_buffer("value", value.float().contiguous())
        table = source.rel_pos_emb.detach().squeeze(-1).transpose(1, 2)
        self.register_buffer("table", table.contiguous())

    def forward(self, tokens: Tensor) -> Tensor:
        """Map `tokens` [1 or 2,N,C], normalised without affine map, to [2,N,C]."""
        batch, positions, channels = tokens.shape
        dim = channels // self.heads
        query = (tokens @ self.query_weight + self.query_bias).reshape(batch, positions, self.heads, dim)
        by_position = (query @ self.table).reshape(batch, positions * self.heads, -1)
        by_category = query.reshape(batch, positions * self.heads, dim) @ self.key
        out = (by_position + by_category) @ self.value
        return out.reshape(2, positions, channels)


@torch.no_grad()
def branch_contexts(embedding: nn.Embedding, projection: nn.Linear, tokens: int) -> Tensor:
    """Return the projected categories of both branches, [2,m,D] in FP64, unconditional first."""
    rows = torch.stack([torch.arange(tokens, 2 * tokens), torch.arange(tokens)])
    return embedding.weight.double()[rows] @ projection.weight.double().T + projection.bias.double()
